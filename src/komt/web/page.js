() => {
  // Another tab of this browser has changed the conversations: they are taken over, so that older ones are not
  // written later; at once, or when the chat is looked at again. What was being typed is kept. While an answer is
  // written, nothing is done.
  const box = () => document.querySelector("#box textarea");
  let stale = false;
  const take = () => {
    if (!stale || !box()?.offsetParent || document.querySelector("#box .stop-button")) return;
    stale = false;
    sessionStorage.setItem("komt-draft", JSON.stringify([box().value, document.activeElement === box()]));
    location.reload();
  };
  window.addEventListener("storage", (event) => {
    stale ||= event.key === "komt-chat-changed";
    take();
  });
  document.addEventListener("click", () => setTimeout(take));
  const draft = () => {
    const [text, focused] = JSON.parse(sessionStorage.getItem("komt-draft") ?? "[]");
    if (text === undefined || !box()) return;
    sessionStorage.removeItem("komt-draft");
    if (focused) box().focus();
    if (!text) return;
    box().value = text;
    box().dispatchEvent(new Event("input", { bubbles: true }));
  };
  // Buttons that show a picture only get a name.
  const names = NAMES;
  const name = () => {
    for (const [where, text] of Object.entries(names))
      for (const button of document.querySelectorAll(`${where}:not([aria-label])`)) {
        button.setAttribute("aria-label", text);
        button.title = text;
      }
    // What stands on them says it, in the language of the page.
    for (const button of document.querySelectorAll("button.example[aria-label]")) button.removeAttribute("aria-label");
  };
  // Gradio's own notices come in English only, and it calls a list of buttons a list, which holds none.
  const notices = NOTICES;
  const tell = () => {
    for (const { firstChild: said } of document.querySelectorAll(".toast-title, .toast-message-text")) {
      const text = notices[said?.textContent.trim()];
      if (text) said.textContent = text;
    }
    for (const list of document.querySelectorAll(".examples[role=list]")) list.setAttribute("role", "group");
  };
  const mend = () => (name(), tell(), draft());
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
  // The mark that keeps tags from being applied (markdown.py) is not copied.
  const written = (text) => text.replaceAll("\u2060", "");
  document.addEventListener("copy", (event) => {
    const text = String(getSelection());
    if (!text.includes("\u2060")) return;
    event.clipboardData.setData("text/plain", written(text));
    event.preventDefault();
  });
  if (navigator.clipboard) {
    const write = navigator.clipboard.writeText.bind(navigator.clipboard);
    navigator.clipboard.writeText = (text) => write(written(text));
  }
}
