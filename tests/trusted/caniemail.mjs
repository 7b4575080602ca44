// Reads {title: HTML}; prints, by title, which feature of it which clients do not support at all, by the package's data.
const { caniemail, rawData } = await import(process.argv[2]);
const { readFileSync } = await import("node:fs");

const clients = rawData.data.flatMap(({ stats }) =>
  Object.entries(stats).flatMap(([family, platforms]) => Object.keys(platforms).map((platform) => [family, platform])));
for (const { stats } of rawData.data)
  for (const [family, platform] of clients) {
    stats[family] ??= {};
    // Nobody tried the feature there: unknown, which is no fault; the package would stop at it.
    if (!Object.keys(stats[family][platform] ?? {}).length) stats[family][platform] = { 0: "u" };
  }

const found = {};
for (const [title, html] of Object.entries(JSON.parse(readFileSync(0)))) {
  found[title] = {};
  for (const [client, issues] of caniemail({ clients: ["*"], html }).issues.errors)
    for (const issue of issues) (found[title][issue.title] ??= {})[client] = true;
  for (const feature of Object.keys(found[title])) found[title][feature] = Object.keys(found[title][feature]).sort();
}
console.log(JSON.stringify(found));
