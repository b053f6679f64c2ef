(_, store) => {
  const talk = (store?.conversations ?? []).find((one) => one.id === store.current);
  return [!talk?.messages.length || confirm(QUESTION) ? "yes" : "", store];
}
