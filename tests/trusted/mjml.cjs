// Reads {name: MJML}; prints, by name, the HTML that npm's own mjml makes of it, and what it finds wrong with it.
const { fileURLToPath } = require("node:url");
const mjml2html = require(fileURLToPath(process.argv[2]));

const made = {};
for (const [name, source] of Object.entries(JSON.parse(require("node:fs").readFileSync(0)))) {
  const { html, errors } = mjml2html(source, { keepComments: true, validationLevel: "soft", ignoreIncludes: true });
  made[name] = { html, errors: errors.map((each) => each.formattedMessage) };
}
console.log(JSON.stringify(made));
