// Names that a person gives to the classes, here or with the setting report.names. They show everywhere on the
// page, and make the file names.yaml.

const STORED = `names of ${report.run}`;
const inputs = [...document.querySelectorAll(".naming input")];
const given = new Map(Object.entries(report.names).map(([index, name]) => [Number(index), name]));

function nameOf(one) {
  return given.get(one.index) || one.name;
}

/** The class that stands for a class: the first one of the same name, or the background if that is its name. */
function standIn(index) {
  if (!given.size || !classes.has(index)) return index;
  const name = nameOf(classes.get(index));
  if (name.toLowerCase() === "background") return 0;
  return report.classes.find((one) => nameOf(one) === name).index;
}

/** The file names.yaml. A text of JSON is a text of YAML, whatever characters are in it. */
function namesFile() {
  const lines = [...given].sort(([a], [b]) => a - b).map(([index, name]) => `${index}: ${JSON.stringify(name)}\n`);
  return lines.join("");
}

/** Names survive closing the page, where the browser allows it. */
function storeNames() {
  try {
    localStorage.setItem(STORED, JSON.stringify([...given]));
  } catch {
    // A browser may forbid it; the file is what counts.
  }
}

function storedNames() {
  try {
    return JSON.parse(localStorage.getItem(STORED)) || [];
  } catch {
    return [];
  }
}

function nameClass(index, name) {
  if (name.trim()) given.set(index, name.trim());
  else given.delete(index);
  for (const title of document.querySelectorAll(`[data-name="${index}"]`)) {
    title.textContent = nameOf(classes.get(index));
  }
  document.getElementById("download").disabled = given.size === 0;
  drawLegend();
}

function downloadNames() {
  const address = URL.createObjectURL(new Blob([namesFile()], { type: "text/yaml" }));
  make("a", { href: address, download: "names.yaml" }).click();
  URL.revokeObjectURL(address);
}

function startNames() {
  if (!inputs.length) return;
  for (const [index, name] of storedNames()) nameClass(index, name);
  update();
  for (const input of inputs) {
    const index = Number(input.dataset.class);
    input.value = given.get(index) || input.value;
    input.addEventListener("input", () => {
      nameClass(index, input.value);
      storeNames();
    });
    input.addEventListener("change", update); // colors change where classes have become one
  }
  listen("download", "click", downloadNames);
}

startPhotographs();
startEnlarged();
startNames();
