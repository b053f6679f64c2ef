async (_, store) => {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".json,application/json";
  // Korean editors on Windows also save as CP949, and some programs as UTF-16.
  const decoded = (data) => {
    const [first, second] = new Uint8Array(data);
    const wide = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "";
    if (wide) return new TextDecoder(wide).decode(data);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(data);
    } catch {
      return new TextDecoder("euc-kr").decode(data);
    }
  };
  const text = await new Promise((resolve) => {
    input.onchange = () => input.files[0].arrayBuffer().then(decoded).then(resolve, () => resolve(""));
    input.oncancel = () => resolve(null);
    input.click();
  });
  return [text, store];
}
