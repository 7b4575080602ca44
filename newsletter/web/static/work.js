// Finds a number such that SHA-256 of "<stamp>:<address>:<number>" begins with enough zero bits: cheap for a person, dear
// for a machine that signs up thousands. Our own SHA-256: crypto.subtle is missing without https, and slow for short texts.
const SLICE_MS = 12;

const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) | 0;
const primes = [];
for (let n = 2; primes.length < 64; n += 1) if (primes.every((prime) => n % prime)) primes.push(n);
const START = primes.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const ROUND = primes.map((prime) => fraction(Math.cbrt(prime)));
const words = new Int32Array(64);
const turn = (x, by) => (x >>> by) | (x << (32 - by));

function mix(state) {
  for (let i = 16; i < 64; i += 1) {
    const a = words[i - 15];
    const b = words[i - 2];
    const low = turn(a, 7) ^ turn(a, 18) ^ (a >>> 3);
    const high = turn(b, 17) ^ turn(b, 19) ^ (b >>> 10);
    words[i] = words[i - 16] + low + words[i - 7] + high;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i += 1) {
    const choice = (e & f) ^ (~e & g);
    const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + choice + ROUND[i] + words[i]) | 0;
    const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  return [a, b, c, d, e, f, g, h].map((value, i) => (value + state[i]) | 0);
}

/** SHA-256 (FIPS 180-4) as eight words of 32 bits. */
export function sha256(text) {
  const bytes = new TextEncoder().encode(text);
  const padded = new DataView(new ArrayBuffer((((bytes.length + 8) >> 6) + 1) << 6));
  bytes.forEach((byte, i) => padded.setUint8(i, byte));
  padded.setUint8(bytes.length, 0x80);
  padded.setUint32(padded.byteLength - 4, bytes.length * 8);
  let state = START;
  for (let block = 0; block < padded.byteLength; block += 64) {
    for (let i = 0; i < 16; i += 1) words[i] = padded.getInt32(block + i * 4);
    state = mix(state);
  }
  return state;
}

function zeros(state) {
  let count = 0;
  for (const word of state) {
    count += Math.clz32(word);
    if (word) break;
  }
  return count;
}

/** Return the address as the server compares it: in small letters, its domain in ASCII. */
function address(text) {
  const [, local, domain] = text.trim().toLowerCase().match(/^(.*)@([^@]*)$/) ?? [];
  try {
    return `${local}@${new URL(`http://${domain}`).hostname}`;
  } catch {
    return text.trim().toLowerCase();
  }
}

/** Return the number, found a slice at a time so that the page stays quick; none once it is for nothing. */
async function solve(subject, bits, wanted) {
  for (let number = 0; wanted(); ) {
    const until = performance.now() + SLICE_MS;
    while (performance.now() < until) {
      for (const last = number + 64; number < last; number += 1) {
        if (zeros(sha256(`${subject}:${number}`)) >= bits) return String(number);
      }
    }
    await new Promise((next) => setTimeout(next));
  }
  return "";
}

for (const field of document.querySelectorAll("input[name=work][data-bits]")) {
  const { form } = field;
  const { stamp, email } = form.elements;
  const subject = () => `${stamp.value}:${address(email.value)}`;
  let begun = "";
  let work;

  const start = () => {
    const mine = subject();
    if (mine !== begun) {
      begun = mine;
      field.value = "";
      work = solve(mine, Number(field.dataset.bits), () => begun === mine).then((number) => {
        if (begun === mine) field.value = number;
      });
    }
    return work;
  };

  email.addEventListener("change", start);
  if (email.value) start();
  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (button?.name === "show" || (field.value && begun === subject())) return; // a sample needs no work
    event.preventDefault();
    if (form.hasAttribute("aria-busy")) return;
    form.setAttribute("aria-busy", "true");
    const said = button?.textContent;
    if (button) button.textContent = field.dataset.wait;
    while (!field.value || begun !== subject()) await start();
    if (button) button.textContent = said;
    form.removeAttribute("aria-busy");
    form.requestSubmit(button);
  });
}
