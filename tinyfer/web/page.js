// The page: takes frames from the camera or a file, sends them to the program as JPEG, and shows what comes back.
// One frame is worked on while the next one waits; a frame is only taken when there is room for it, so it is always new.

const MINUTE = 60;          // seconds in the chart
const LONGEST = 640;        // pixels of a frame's longer side; of a picture's, 1600
const IN_FLIGHT = 2;
const GAP = 1.5;            // seconds without an answer that break a line of the chart
const SEND = 1 / 30;        // seconds between frames, at least
const GONE = 5;             // seconds after which a face that was chosen is not waited for any longer

const $ = (id) => document.getElementById(id);
const video = $("video"), picture = $("picture"), stage = $("stage");
const page = Math.random().toString(36).slice(2, 12);
const introduction = $("nobody").textContent;
const grabbed = document.createElement("canvas");

let about = {labels: [], colours: {}, faint: "#9aa3ad", model: "", note: ""};
let source = "";            // "", "camera", "video" or "picture"
let turn = 0;               // counts the sources: answers for an older one are dropped
let stream = null;
let inFlight = 0, lastSent = 0, lastShown = -1, newest = 0, count = 0;
let mirror = true;
let chosen = null;          // the face whose past is shown; null: the largest
let leader = null;          // the largest face's track, until another is clearly larger
let past = [];              // {time, track, leads, probabilities}
let rate = 0, lastAnswer = 0;
let toldAt = 0, toldWhat = "";
let playing = "";           // the video file's name
let shown = null;           // the answer on display

const now = () => performance.now() / 1000;
const percent = (p) => Math.round(100 * p);
const chance = (face) => face.probabilities[about.labels.indexOf(face.label)];
const colour = (label) => about.colours[label] || about.faint;

// ------------------------------------------------------------------------------------------------------------- sources

function say(sentence) {
  $("message").textContent = sentence;
  $("message").hidden = !sentence;
}

function stop() {
  turn += 1;
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.srcObject = null;
  source = "";
  lastShown = -1;
  inFlight = 0;
  newest = 0;
  past = [];
  chosen = leader = null;
  rate = 0;
  stage.classList.add("empty");
  video.hidden = picture.hidden = $("pause").disabled = true;
  $("past").hidden = false;
  setPaused(false);
  say("");
  show({size: [4, 3], faces: []});
  reflect();
}

function use(kind) {
  source = kind;
  stage.classList.remove("empty");
  video.hidden = kind === "picture";
  picture.hidden = kind !== "picture";
  video.controls = kind === "video";
  $("pause").disabled = kind === "picture";
  $("past").hidden = kind === "picture";   // a picture has none
  setPaused(false);
  reflect();
}

function shape(width, height) {
  stage.style.setProperty("--ratio", width / height);
}

async function useCamera(id) {
  stop();
  const mine = turn;
  if (!navigator.mediaDevices) {
    say("The browser gives its camera to secure pages only: open this one as http://127.0.0.1 or http://localhost, " +
        "with the same port and path.");
    return;
  }
  const wanted = id ? {deviceId: {exact: id}} : {facingMode: "user"};
  try {
    const opened = await navigator.mediaDevices.getUserMedia(
      {video: {...wanted, width: {ideal: 640}, height: {ideal: 480}}, audio: false});
    if (mine !== turn) {
      opened.getTracks().forEach((track) => track.stop());
      return;
    }
    stream = opened;
    video.srcObject = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (mine !== turn) return;
      stop();   // what is on its way would be shown as if it were now
      say("The camera has stopped. Use the camera again?");
    });
    use("camera");
    await video.play();
    await listCameras();
  } catch (error) {
    if (mine !== turn) return;
    const why = {
      NotAllowedError: "The browser may not use the camera: allow it beside the address, then press the button again.",
      NotFoundError: "The browser finds no camera. Plug one in, or open a picture or a video.",
      NotReadableError: "The camera does not start: does another program hold it?",
    }[error.name];
    say(why || `The camera does not start (${error.name}).`);
  }
}

async function listCameras() {
  const found = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  const current = stream && stream.getVideoTracks()[0].getSettings().deviceId;
  $("cameras").replaceChildren(...found.map((device, i) =>
    new Option(device.label || `camera ${i + 1}`, device.deviceId, false, device.deviceId === current)));
  $("cameras").hidden = found.length < 2;
}

function refuse() {
  stop();
  say(`The browser cannot play ${playing}. It plays most webm and mp4 files, and those of --record film.webm; for any ` +
      "other: python -m tinyfer.webcam --source FILE.");
}

async function useFile(file) {
  stop();
  const mine = turn;
  if (file.type.startsWith("video/")) {
    playing = file.name;
    video.src = URL.createObjectURL(file);
    use("video");
    video.play().catch(() => {});   // what cannot be played is an error event, too
    return;
  }
  try {
    const image = await createImageBitmap(file);
    if (mine !== turn) return;
    const scale = Math.min(1, 1600 / Math.max(image.width, image.height));
    picture.width = Math.max(1, Math.round(scale * image.width));
    picture.height = Math.max(1, Math.round(scale * image.height));
    const pen = picture.getContext("2d");
    pen.fillStyle = "white";   // what is transparent becomes white, as elsewhere; in a JPEG it would be black
    pen.fillRect(0, 0, picture.width, picture.height);
    pen.drawImage(image, 0, 0, picture.width, picture.height);
    use("picture");
    shape(picture.width, picture.height);
    const small = picture.width * picture.height < 90000;
    picture.toBlob((blob) => mine === turn && send(blob, true), small ? "image/png" : "image/jpeg", 0.92);
  } catch {
    if (mine === turn) say(`The browser cannot show ${file.name}: expected a picture or a video.`);
  }
}

// ------------------------------------------------------------------------------------------------- frames, and answers

function pump() {
  requestAnimationFrame(pump);
  const live = (source === "camera" || source === "video") && video.readyState >= 2 && video.videoWidth;
  if (!live || video.currentTime === lastShown || inFlight >= IN_FLIGHT || now() - lastSent < SEND) return;
  lastShown = video.currentTime;
  lastSent = now();
  shape(video.videoWidth, video.videoHeight);
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  grabbed.width = Math.max(1, Math.round(scale * video.videoWidth));
  grabbed.height = Math.max(1, Math.round(scale * video.videoHeight));
  grabbed.getContext("2d").drawImage(video, 0, 0, grabbed.width, grabbed.height);
  inFlight += 1;
  const mine = turn;
  grabbed.toBlob((blob) => mine === turn && send(blob, false), "image/jpeg", 0.85);
}

async function send(blob, still) {
  const mine = turn, number = ++count, time = now();
  if (still) inFlight += 1;
  try {
    const where = `frame?client=${page}-${mine}&time=${time.toFixed(4)}${still ? "&still=1" : ""}`;
    const response = await fetch(where, {method: "POST", body: blob});
    if (mine !== turn) return;
    if (response.status === 200) {
      const answer = await response.json();
      if (mine !== turn || number < newest) return;
      newest = number;
      answer.trip = now() - time;
      if (!still) note(answer, time);
      say("");
      show(answer);
    } else if (response.status !== 204) {
      say(`The program refuses: ${await response.text()}`);
    }
  } catch {
    if (mine !== turn) return;
    say("The program does not answer any more. Start it again, and open the new address that it prints.");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  } finally {
    if (mine === turn) inFlight -= 1;
  }
}

function note(answer, time) {
  if (lastAnswer) rate += 0.1 * (1 / Math.max(now() - lastAnswer, 0.001) - rate);
  lastAnswer = now();
  const area = (face) => face.box[2] * face.box[3];
  const largest = answer.faces.reduce((best, face) => (!best || area(face) > area(best) ? face : best), null);
  const before = answer.faces.find((face) => face.track === leader);
  if (largest && (!before || area(largest) > 1.6 * area(before))) leader = largest.track;
  for (const {track, probabilities} of answer.faces) past.push({time, track, leads: track === leader, probabilities});
  while (past.length && past[0].time < time - MINUTE) past.shift();
  const waited = past.some((point) => point.track === chosen && point.time > time - GONE);
  if (!waited) chosen = null;
}

// --------------------------------------------------------------------------------------------------------- the overlay

function make(tag, className, parent) {
  const element = document.createElement(tag);
  element.className = className;
  if (parent) parent.append(element);
  return element;
}

function show(answer) {
  shown = answer;
  const [width, height] = answer.size;
  const still = source === "picture";
  answer.faces.forEach((face, i) => { face.number = still ? i + 1 : face.track; });
  keyed($("boxes"), answer.faces, makeBox, (box, face) => updateBox(box, face, width, height));
  keyed($("cards"), answer.faces, makeCard, updateCard);
  $("nobody").hidden = answer.faces.length > 0;
  $("nobody").textContent = source ? "No face. Faces are found from the front, in good light." : introduction;
  if (answer.ms) {
    const parts = ["wait", "detect", "network"].map((stage) => `${stage} ${Math.round(answer.ms[stage] || 0)}`);
    $("speed").textContent = (still ? "" : `${rate.toFixed(0)} frames/s; `) +
      `milliseconds: ${parts.join(", ")}; there and back ${Math.round(1000 * answer.trip)}`;
  }
  tell(answer.faces);
  drawChart();
}

// Give `parent` one child for each face, kept from answer to answer.
function keyed(parent, faces, create, update) {
  const old = new Map([...parent.children].map((child) => [Number(child.dataset.track), child]));
  const tracks = new Set(faces.map((face) => face.track));
  old.forEach((child, track) => { if (!tracks.has(track)) child.remove(); });   // first: who is moved loses the focus
  faces.forEach((face, i) => {
    const child = old.get(face.track) || create(face);
    child.dataset.track = face.track;
    if (parent.children[i] !== child) parent.insertBefore(child, parent.children[i] || null);
    update(child, face);
  });
}

function makeBox() {
  const box = make("div", "box");
  make("span", "", box);
  return box;
}

function updateBox(box, face, width, height) {
  const [x, y, w, h] = face.box;
  const left = mirrored() ? width - x - w : x;
  Object.assign(box.style, {left: `${100 * left / width}%`, top: `${100 * y / height}%`,
                            width: `${100 * w / width}%`, height: `${100 * h / height}%`});
  box.style.setProperty("--colour", colour(face.shown));
  box.classList.toggle("lost", !face.seen);
  box.classList.toggle("top", y < 0.09 * height);
  box.classList.toggle("right", left > 0.7 * width);
  const pixels = w / width * stage.clientWidth;
  box.firstChild.style.fontSize = `${Math.max(11, Math.min(16, pixels / 6))}px`;
  box.classList.toggle("small", pixels < 48);   // in a crowd: the number, by which the card is found
  box.firstChild.textContent = pixels < 48 ? face.number :
    face.shown + (pixels < 80 ? "" : ` ${percent(chance(face))} %`);
}

function makeCard(face) {
  const card = make("button", "card");
  card.type = "button";
  const head = make("span", "head", card);
  const crop = make("canvas", "crop", head);
  crop.width = crop.height = face.side;
  crop.setAttribute("role", "img");
  crop.setAttribute("aria-label", "what the network sees");
  const words = make("span", "", head);
  make("span", "name", words);
  make("span", "chance", words);
  make("span", "number", head);
  const bars = make("span", "bars", card);
  for (const label of about.labels) {
    const bar = make("span", "bar", bars);
    bar.dataset.label = label;
    make("span", "what", bar).textContent = label;
    make("span", "fill", make("span", "trough", bar)).style.setProperty("--colour", colour(label));
    make("span", "percent", bar);
  }
  card.addEventListener("click", () => {
    const track = Number(card.dataset.track);
    chosen = chosen === track ? null : track;
    reflect();
  });
  return card;
}

function updateCard(card, face) {
  card.style.setProperty("--colour", colour(face.shown));
  card.querySelector(".name").textContent = face.shown;
  card.querySelector(".chance").textContent = (face.uncertain ? `${face.label}? ` : "") + `${percent(chance(face))} %`;
  card.querySelector(".number").textContent = `#${face.number}`;
  drawCrop(card.querySelector(".crop"), face);
  const most = Math.max(...face.probabilities);
  card.querySelectorAll(".bar").forEach((bar, i) => {
    const p = face.probabilities[i];
    bar.classList.toggle("first", bar.dataset.label === face.label || p === most);
    bar.querySelector(".fill").style.width = `${100 * p}%`;
    bar.querySelector(".percent").textContent = percent(p);
  });
  card.setAttribute("aria-pressed", String(chosen === face.track));
}

function drawCrop(canvas, face) {
  const grey = Uint8Array.from(atob(face.crop), (c) => c.charCodeAt(0));
  const pixels = new ImageData(face.side, face.side);
  grey.forEach((value, i) => pixels.data.set([value, value, value, 255], 4 * i));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// For those who listen: what changed, not more often than every three seconds.
function tell(faces) {
  const words = faces.map((face) => `face ${face.number}: ${face.shown}`).join(", ") || (source ? "no face" : "");
  if (words !== toldWhat && now() - toldAt > 3) {
    toldWhat = words;
    toldAt = now();
    $("told").textContent = words;
  }
}

// ----------------------------------------------------------------------------------------------------------- the chart

function drawChart() {
  const canvas = $("chart"), ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(ratio * width) || canvas.height !== Math.round(ratio * height)) {
    canvas.width = Math.round(ratio * width);
    canvas.height = Math.round(ratio * height);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const left = 46, right = width - 74, top = 8, bottom = height - 22;
  const end = past.length ? past[past.length - 1].time : now();
  const x = (time) => right - (right - left) * (end - time) / MINUTE;
  const y = (p) => bottom - (bottom - top) * p;
  grid(pen, {left, right, bottom}, x, y, end);
  const points = past.filter((point) => (chosen === null ? point.leads : point.track === chosen));
  about.labels.forEach((label, i) => line(pen, points, i, colour(label), x, y));
  names(pen, points, right + 6, y, top, bottom);
  $("whose").textContent = chosen === null ? "of the largest face" : `of face #${chosen}`;
}

function grid(pen, edge, x, y, end) {
  pen.font = "12px system-ui, sans-serif";
  pen.fillStyle = "#a5aeb8";
  pen.strokeStyle = "#3a414a";
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const p of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(edge.left, y(p));
    pen.lineTo(edge.right, y(p));
    pen.stroke();
    pen.fillText(`${100 * p} %`, edge.left - 5, y(p));
  }
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  for (const ago of [60, 45, 30, 15, 0]) pen.fillText(ago ? `-${ago} s` : "now", x(end - ago), edge.bottom + 17);
}

function line(pen, points, i, stroke, x, y) {
  pen.strokeStyle = stroke;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.beginPath();
  points.forEach((point, k) => {
    const go = k && point.time - points[k - 1].time < GAP ? "lineTo" : "moveTo";
    pen[go](x(point.time), y(point.probabilities[i]));
  });
  pen.stroke();
}

// At the lines' ends the names of the likeliest, so that colours need not be told apart.
function names(pen, points, left, y, top, bottom) {
  if (!points.length) return;
  const {probabilities} = points[points.length - 1];
  const likely = about.labels.map((label, i) => ({label, p: probabilities[i]}))
    .filter(({p}) => p > 0.08).sort((a, b) => b.p - a.p).slice(0, 4);
  let next = top + 4;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.font = "13px system-ui, sans-serif";
  likely.forEach(({label, p}, rank) => {
    const room = 14 * (likely.length - 1 - rank);
    const at = Math.min(Math.max(y(p), next), bottom - room);
    next = at + 14;
    pen.fillStyle = colour(label);
    pen.fillText(label, left, at);
  });
}

// -------------------------------------------------------------------------------------------------------------- buttons

const mirrored = () => mirror && source === "camera";

function reflect() {
  stage.classList.toggle("mirrored", mirrored());
  $("mirror").setAttribute("aria-pressed", String(mirror));
  $("mirror").disabled = source !== "" && source !== "camera";
  document.querySelectorAll(".card").forEach((card) =>
    card.setAttribute("aria-pressed", String(Number(card.dataset.track) === chosen)));
  drawChart();
}

function setPaused(paused) {
  $("pause").setAttribute("aria-pressed", String(paused));
}

function pause() {
  if ($("pause").disabled) return;
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

const actions = {
  c: () => useCamera(),
  o: () => $("file").click(),
  p: pause,
  m: () => { if (!$("mirror").disabled) { mirror = !mirror; reflect(); } },
};
$("camera").addEventListener("click", actions.c);
$("open").addEventListener("click", actions.o);
$("pause").addEventListener("click", actions.p);
$("mirror").addEventListener("click", actions.m);
$("cameras").addEventListener("change", (event) => useCamera(event.target.value));
$("file").addEventListener("change", (event) => {
  if (event.target.files[0]) useFile(event.target.files[0]);
  event.target.value = "";
});
video.addEventListener("pause", () => setPaused(true));
video.addEventListener("play", () => setPaused(false));
video.addEventListener("error", () => { if (source === "video") refuse(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const act = actions[event.key.toLowerCase()];
  if (act) act();
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) stage.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  if (event.dataTransfer.files[0]) useFile(event.dataTransfer.files[0]);
});
window.addEventListener("resize", () => { if (shown) show(shown); });   // labels go by the boxes' size

try {
  about = await (await fetch("about")).json();
  $("model").textContent = `model ${about.model}`;
  $("note").textContent = about.note;
  $("note").hidden = !about.note;
  drawChart();
  pump();
} catch {
  say("The program does not answer. Start it again, and open the new address that it prints.");
}
