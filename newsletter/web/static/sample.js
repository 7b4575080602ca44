// Shows what would come, while one says what one works on. Without JavaScript a button asks for it.
const form = document.querySelector("#subscribe");
const place = document.querySelector("#sample");
const status = document.querySelector("#sample-said");
const button = document.querySelector("button[name=show]");
const WAIT_MS = 400;
const MATTERS = ["lang", "topics", "about", "papers", "keywords", "authors", "categories", "mutes", "max_papers", "cadence", "bar", "weekdays"];

const wishes = () => {
  const all = new FormData(form);
  return new URLSearchParams(MATTERS.flatMap((name) => all.getAll(name).map((value) => [name, value]))).toString();
};

let shown = place?.querySelector(".cards") ? wishes() : "";
let timer;
let asking;

async function ask() {
  const body = wishes();
  if (body === shown) return;
  asking?.abort();
  const mine = (asking = new AbortController());
  place.setAttribute("aria-busy", "true");
  try {
    const headers = { "Content-Type": "application/x-www-form-urlencoded;charset=UTF-8" };
    const answer = await fetch(place.dataset.from, { method: "POST", body, headers, signal: mine.signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const text = await answer.text();
    if (mine.signal.aborted) return;
    place.innerHTML = text; // a fragment of ours, escaped by the template
    shown = body;
    button.hidden = true;
    // All cards read out after each letter would be too much: only how many there are.
    status.textContent = place.querySelector(".found, .notes")?.textContent.trim() ?? "";
  } catch (error) {
    if (error.name !== "AbortError") button.hidden = false;
  } finally {
    if (asking === mine) place.removeAttribute("aria-busy");
  }
}

function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, WAIT_MS);
}

if (form && place) {
  form.addEventListener("input", soon);
  form.addEventListener("change", soon);
  const told = new FormData(form);
  const said = ["topics", "about", "papers", "keywords", "authors", "categories"].some((name) => told.get(name)?.trim());
  if (said) soon(); // after an error, or when the browser went back
}
