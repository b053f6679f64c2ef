(store) => {
  const talk = (store?.conversations ?? []).find((one) => one.id === store.current);
  if (!talk) return [];
  const text = JSON.stringify({ format: "komt-chat", version: 1, ...talk }, null, 1);
  const title = (talk.title || "").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `komt-${title || "chat"}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
  return [];
}
