() => {
  // Another tab of this browser has changed the conversations: one that nobody is using takes them over, so that
  // it does not write older ones later.
  window.addEventListener("storage", (event) => {
    const busy = document.querySelector("#box .stop-button") || document.querySelector("#box textarea")?.value;
    if (event.key === "komt-chat" && document.hidden && !busy) location.reload();
  });
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
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
}
