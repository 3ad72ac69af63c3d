// One websocket. Messages name what changed; listeners of "desk:notice" fetch it. Knows when numbers are stale.

const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
// The server beats every two seconds; this much silence means the connection is dead.
const SILENT_AFTER = 8000;

const strip = document.getElementById("strip");
const words = strip.querySelector("[data-strip-text]");
let socket = null;
let wait = FIRST_WAIT;
let lastMessage = Date.now();
let retry = null;
let wasLost = false;

function connect() {
  clearTimeout(retry);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  socket = new WebSocket(`${scheme}://${location.host}/ws/desk/`);
  const mine = socket;
  mine.addEventListener("open", () => {
    wait = FIRST_WAIT;
    lastMessage = Date.now();
    if (wasLost) announce({ kind: "refresh" });
    wasLost = false;
    show();
  });
  mine.addEventListener("message", (event) => {
    lastMessage = Date.now();
    const notice = JSON.parse(event.data);
    if (notice.kind !== "beat") announce(notice);
    show();
  });
  mine.addEventListener("close", () => {
    if (mine === socket) lost();
  });
}

function lost() {
  wasLost = true;
  socket = null;
  show();
  clearTimeout(retry);
  retry = setTimeout(connect, wait * (0.75 + Math.random() / 2));
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

function announce(notice) {
  document.dispatchEvent(new CustomEvent("desk:notice", { detail: notice }));
}

function show() {
  const silence = Date.now() - lastMessage;
  const stale = (socket === null || socket.readyState !== WebSocket.OPEN || silence > SILENT_AFTER) && silence > 2500;
  strip.classList.toggle("hidden", !stale);
  document.body.classList.toggle("stale", stale);
  if (stale) words.textContent = `Reconnecting, numbers are ${Math.round(silence / 1000)} s old. The stop button works without this connection.`;
}

setInterval(() => {
  if (socket && socket.readyState === WebSocket.OPEN && Date.now() - lastMessage > SILENT_AFTER) {
    const silent = socket;
    lost();
    silent.close();
  }
  show();
}, 1000);

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && socket === null) {
    wait = FIRST_WAIT;
    connect();
  }
});
window.addEventListener("online", () => socket === null && connect());

connect();
