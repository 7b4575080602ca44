// Offers the browser's own time zone; without JavaScript the reader picks one.
const zone = document.querySelector("select[data-guess]");
const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && Array.from(zone.options).some((option) => option.value === here)) zone.value = here;
