(store) => {
  // Other tabs are told of a change, but not of conversations that are merely read again (page.js).
  if (store?.changed) localStorage.setItem("komt-chat-changed", store.changed);
  return [];
}
