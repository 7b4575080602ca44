// Finds topics while one types, and takes topics that are not in the list. Without JavaScript there is just the list.
const group = document.querySelector("#topics");
const template = document.querySelector("#find-topic");

const same = (one, other) => one.trim().toLowerCase() === other.trim().toLowerCase();

if (group && template) {
  const chips = group.querySelector(".chips");
  chips.before(template.content);
  const input = group.querySelector("#find");
  const add = group.querySelector(".find button");
  const said = group.querySelector(".find [role=status]");
  const boxes = () => [...chips.querySelectorAll("input")];
  const words = () => input.value.split(/\s+/).filter(Boolean).join(" ");

  const filter = () => {
    const text = words().toLowerCase();
    let found = 0;
    for (const box of boxes()) {
      const fits = box.value.toLowerCase().includes(text);
      box.parentElement.hidden = !fits;
      found += fits;
    }
    add.hidden = !text || boxes().some((box) => same(box.value, text));
    said.textContent = text && !found ? said.dataset.none : "";
  };

  const chip = (text) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "topics", value: text });
    label.append(box, text);
    chips.append(label);
    return box;
  };

  const tick = (box) => {
    box.checked = true;
    input.value = "";
    filter();
    said.textContent = `${box.value}: ${said.dataset.added}`;
    box.dispatchEvent(new Event("change", { bubbles: true }));
  };

  input.addEventListener("input", (event) => {
    event.stopPropagation(); // what is being looked for is no wish yet
    filter();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault(); // or the whole form would be sent
    const text = words();
    const shown = boxes().filter((box) => !box.parentElement.hidden);
    const known = boxes().find((box) => same(box.value, text)) ?? (shown.length === 1 ? shown[0] : null);
    if (text) tick(known ?? chip(text));
  });
  add.addEventListener("click", () => {
    tick(chip(words())); // exactly these words, also where a longer topic has them in it
    input.focus();
  });
}
