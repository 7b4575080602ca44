"use strict";
// The page is loaded anew when a template was saved. It stays where it was scrolled to: browsers see to that.
const version = document.documentElement.dataset.version;
const look = async () => {
  try {
    const said = await (await fetch("/version", { cache: "no-store" })).json();
    if (said.version !== version) return location.reload();
  } catch { /* the preview was stopped; it may come back */ }
  setTimeout(look, 700);
};
setTimeout(look, 700);

// A frame is as high as its mail. Links in it show where they lead, and lead nowhere.
const target = document.getElementById("target");
const fit = (frame) => {
  const page = frame.contentDocument;
  if (!page || !page.body) return;
  frame.style.height = "0";
  frame.style.height = `${page.documentElement.scrollHeight}px`;
  page.addEventListener("click", (press) => {
    const link = press.target.closest("a");
    if (!link) return;
    press.preventDefault();
    target.textContent = `That link leads to ${link.href}`;
  });
};
for (const frame of document.querySelectorAll("iframe")) {
  if (frame.contentDocument?.readyState === "complete" && frame.contentDocument.URL !== "about:blank") fit(frame);
  frame.addEventListener("load", () => fit(frame));
}
