async (_, store) => {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".json,application/json";
  const text = await new Promise((resolve) => {
    input.onchange = () => input.files[0].text().then(resolve, () => resolve(""));
    input.oncancel = () => resolve(null);
    input.click();
  });
  return [text, store];
}
