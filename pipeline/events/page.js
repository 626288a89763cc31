const track = document.getElementById("track");
if (track) {
  const scroll = document.getElementById("scroll"), thumbs = document.getElementById("thumbs"), ticks = document.getElementById("ticks");
  const detail = document.getElementById("detail"), seconds = Number(track.dataset.seconds);
  const axis = JSON.parse(document.getElementById("axis").textContent), pictures = JSON.parse(document.getElementById("pictures").textContent);
  const rows = [...document.querySelectorAll("tbody tr")], bars = rows.map((row, k) => document.getElementById("e" + k));
  const clock = (time, tenths) => {
    const all = tenths ? Math.round(time * 10) / 10 : Math.round(time), hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60;
    const rest = (all % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
    return (hours ? hours + ":" + String(minutes).padStart(2, "0") : minutes) + ":" + rest;
  };
  let zoom = 1, chosen = -1;
  const most = () => Math.max(1, seconds / 4);  // at most: four seconds fill the strip
  const draw = () => {
    track.style.width = 100 * zoom + "%";
    const width = track.clientWidth, pixels = width / seconds;
    const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000].find(step => step * pixels >= 70) ?? 86400;
    const from = Math.max(0, scroll.scrollLeft - scroll.clientWidth) / pixels, until = (scroll.scrollLeft + 2 * scroll.clientWidth) / pixels;
    const labels = [];
    for (let k = Math.floor(from / step); k * step <= Math.min(until, seconds); k++) {
      if (k * step * pixels > width - 40) break;
      const label = document.createElement("span");
      label.style.left = k * step * pixels + "px";
      label.textContent = clock(k * step, step < 1);
      labels.push(label);
    }
    ticks.replaceChildren(...labels);
    let free = 0;
    const shown = [], wide = 0.89 * thumbs.clientHeight * Number(track.dataset.aspect);
    for (const time of axis) {
      const left = Math.min(Math.max(time * pixels - wide / 2, 0), width - wide), key = time.toFixed(3);
      if (time < from || time > until || left < free) continue;
      const image = document.createElement("img");
      image.src = pictures[key];
      image.alt = "";
      image.style.left = left + "px";
      shown.push(image);
      free = left + wide + 6;
    }
    thumbs.replaceChildren(...shown);
  };
  const zoomTo = (factor, time) => {
    const centre = time ?? (scroll.scrollLeft + scroll.clientWidth / 2) / track.clientWidth * seconds;
    zoom = Math.min(Math.max(factor, 1), most());
    track.style.width = 100 * zoom + "%";
    scroll.scrollLeft = centre / seconds * track.clientWidth - scroll.clientWidth / 2;
    draw();
  };
  const reveal = k => {
    const middle = (Number(rows[k].dataset.start) + Number(rows[k].dataset.end)) / 2 / seconds * track.clientWidth;
    if (middle < scroll.scrollLeft + 20 || middle > scroll.scrollLeft + scroll.clientWidth - 20) scroll.scrollLeft = middle - scroll.clientWidth / 2;
  };
  const choose = k => {
    if (k < 0 || k >= rows.length) return;
    for (const old of document.querySelectorAll("[aria-current]")) old.removeAttribute("aria-current");
    bars.forEach(bar => { bar.tabIndex = -1; });
    chosen = k;
    bars[k].tabIndex = 0;
    bars[k].setAttribute("aria-current", "true");
    rows[k].setAttribute("aria-current", "true");
    const cells = rows[k].cells, text = document.createElement("div"), parts = [];
    const line = (words, name) => { const p = document.createElement("p"); p.textContent = words; p.className = name; text.append(p); };
    line(cells[2].textContent, "class");
    line(`${cells[0].textContent} – ${cells[1].textContent} (${(rows[k].dataset.end - rows[k].dataset.start).toFixed(1)} s)`, "");
    line(`confidence ${cells[3].textContent}`, "soft");
    if (rows[k].dataset.thumb) {
      const image = document.createElement("img");
      image.src = pictures[rows[k].dataset.thumb];
      image.alt = `Frame of ${cells[2].textContent} at ${clock(Number(rows[k].dataset.thumb), true)}`;
      parts.push(image);
    } else line(detail.dataset.without, "soft");
    detail.replaceChildren(...parts, text);
    reveal(k);
  };
  bars.forEach((bar, k) => {
    bar.addEventListener("click", () => choose(k));
    bar.addEventListener("focus", () => { if (chosen !== k) choose(k); });
    bar.addEventListener("keydown", event => {
      const next = { ArrowLeft: k - 1, ArrowRight: k + 1, Home: 0, End: bars.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      bars[Math.min(Math.max(next, 0), bars.length - 1)].focus({ preventScroll: true });
    });
  });
  rows.forEach((row, k) => row.querySelector("button").addEventListener("click", () => { choose(k); bars[k].focus({ preventScroll: true }); scroll.scrollIntoView({ block: "nearest" }); }));
  const around = () => chosen < 0 ? undefined : (Number(rows[chosen].dataset.start) + Number(rows[chosen].dataset.end)) / 2;
  document.getElementById("in").addEventListener("click", () => zoomTo(zoom * 2, around()));
  document.getElementById("out").addEventListener("click", () => zoomTo(zoom / 2, around()));
  document.getElementById("fit").addEventListener("click", () => zoomTo(1));
  bars[0].tabIndex = 0;
  let waiting = false;
  const later = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } };
  scroll.addEventListener("scroll", later);
  addEventListener("resize", later);
  if (location.hash.match(/^#event=\d+$/)) choose(Number(location.hash.slice(7)));
  draw();
}
