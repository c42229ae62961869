"use strict";

// Photographs and their label maps: load them, color them, and say what is at a pixel.
//
// A picture has a JPEG and maps with the label of every pixel: the regions, and what people drew if there is
// one. The map of the regions serves all columns, because the page knows class and foreground of every region.

const report = JSON.parse(document.getElementById("data").textContent);
const inside = document.getElementById("pictures");
const picturesInside = inside && JSON.parse(inside.textContent);
const classes = new Map(report.classes.map((one) => [one.index, one]));

const CLEAR = 0;
const WHITE = 0xffffffff;
const DARK = 0xd8100c0a;
// Lines between labels are wide enough to stay visible in a small picture.
const PIXELS_PER_LINE = 320;
const FILES_IN_MEMORY = 32;
const MAPS_IN_MEMORY = 64;

/** Create an element with properties and children. Text is always text, never HTML. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Remember the last results of a function of a number. */
function remembered(compute, most) {
  const known = new Map();
  return (number) => {
    if (!known.has(number)) {
      known.set(number, compute(number));
      if (known.size > most) known.delete(known.keys().next().value);
    }
    return known.get(number);
  };
}

const arrivals = new Map();

/** A file of pictures calls this. It is a script because a page on a disk may not read other files. */
function receivePictures(file, pictures) {
  arrivals.get(file)(pictures);
}

const picturesOfFile = remembered(
  (file) =>
    new Promise((resolve, reject) => {
      const name = `pictures-${String(file).padStart(5, "0")}.js`;
      arrivals.set(file, resolve);
      const missing = () => reject(new Error(`The file ${name} is missing. Copy it beside this page.`));
      document.head.append(make("script", { src: name, onerror: missing }));
    }),
  FILES_IN_MEMORY,
);

async function pictureOf(place) {
  if (picturesInside) return picturesInside[place];
  return (await picturesOfFile(Math.floor(place / report.picturesPerFile)))[place % report.picturesPerFile];
}

/** Unpack labels: base64 of zlib, one byte for each pixel. */
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Photograph, regions and truth of the photograph at a place of the list. */
const mapsOf = remembered(async (place) => {
  const picture = await pictureOf(place);
  return {
    photograph: `data:image/jpeg;base64,${picture.photograph}`,
    regions: await unpack(picture.regions),
    truth: picture.truth && (await unpack(picture.truth)),
  };
}, MAPS_IN_MEMORY);

function labelsOf(kind, maps) {
  return kind === "truth" ? maps.truth : maps.regions;
}

/** #rrggbb as a pixel of a canvas, which is little endian on every machine that has a browser. */
function pixel(color) {
  const value = parseInt(color.slice(1), 16);
  return (0xff000000 | ((value & 255) << 16) | (value & 0xff00) | (value >> 16)) >>> 0;
}

/** Color of every label in a column. */
function colorTable(kind, place) {
  const table = new Uint32Array(256).fill(CLEAR);
  if (kind === "truth") {
    for (const [index, one] of classes) table[index] = one.color ? pixel(one.color) : CLEAR;
    return table;
  }
  for (const [region, classIndex, foreground] of report.photographs[place].regions) {
    const ofClass = classes.get(standIn(classIndex));
    if (kind === "regions") table[region] = pixel(report.regionColors[region]);
    if (kind === "foreground") table[region] = foreground ? CLEAR : DARK;
    if (kind === "classes") table[region] = ofClass && ofClass.color ? pixel(ofClass.color) : CLEAR;
  }
  return table;
}

/** Draw the overlay of a column: the color of every label, and white lines between different colors. */
function paint(canvas, kind, place, maps) {
  const { width, height } = report.photographs[place];
  const labels = labelsOf(kind, maps);
  Object.assign(canvas, { width, height });
  if (!labels) return;
  const table = colorTable(kind, place);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const line = Math.max(1, Math.round(Math.max(width, height) / PIXELS_PER_LINE));
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const color = table[labels[i]];
      const left = x >= line ? table[labels[i - line]] : color;
      const above = y >= line ? table[labels[i - line * width]] : color;
      pixels[i] = left === color && above === color ? color : WHITE;
    }
  }
  context.putImageData(image, 0, 0);
}

function className(index) {
  return classes.has(index) ? nameOf(classes.get(standIn(index))) : "";
}

/** Say in words what a region is, or what people drew there. */
function describe(kind, place, label, labels) {
  if (kind === "truth") return `${columnTitle(kind)}: ${className(label)}`;
  const { regions } = report.photographs[place];
  const [, classIndex, foreground] = regions.find(([region]) => region === label);
  const count = labels.reduce((sum, other) => sum + (other === label), 0);
  const share = Math.round((100 * count) / labels.length) || "under 1";
  const parts = [`region ${label}`, className(classIndex), foreground ? "foreground" : "not foreground"];
  return [...parts.filter(Boolean), `${share} % of the photograph`].join(" · ");
}

/** Describe what an element that shows a photograph has under a pointer. */
async function describeAt(element, kind, place, event) {
  const maps = await mapsOf(place);
  const { width, height } = report.photographs[place];
  const labels = labelsOf(kind, maps);
  const box = element.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * height);
  const isInside = x >= 0 && y >= 0 && x < width && y < height;
  return labels && isInside ? describe(kind, place, labels[y * width + x], labels) : "";
}

function columnTitle(kind) {
  return report.columns.find((column) => column.kind === kind).title;
}

/** Put a photograph with the overlay of a column into an element, and return its picture. */
function show(element, kind, place) {
  const { id, width, height } = report.photographs[place];
  const image = make("img", { alt: `${columnTitle(kind)} of ${id}` });
  const canvas = make("canvas");
  element.style.aspectRatio = `${width} / ${height}`;
  element.replaceChildren(image, ...(kind === "photograph" ? [] : [canvas]));
  mapsOf(place).then(
    (maps) => {
      image.src = maps.photograph;
      if (kind !== "photograph") paint(canvas, kind, place, maps);
    },
    (error) => element.replaceChildren(make("span", { className: "missing" }, error.message)),
  );
}
