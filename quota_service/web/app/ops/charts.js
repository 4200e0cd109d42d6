// Lines of the last minutes, drawn by uPlot in the colours of the page.

import { html, useEffect, useRef } from "../ui.js";
import { language, t } from "../words.js";
import uPlot from "../../vendor/uplot.js";
import { lately } from "./feeds.js";
import { rate, useOps } from "./parts.js";

const SPAN_S = 300;
const HEIGHT = 190;
const CARRIED_S = 5;

/** Lines by the second: `lines` are [kind, name, colour, dash]; `unit` says what they count. */
export function Chart({ title, unit, seconds, now, lines }) {
  const { exam } = useOps();
  const frame = useRef(null);
  const chart = useRef(null);
  const data = () => rows(seconds, now, lines.map(([kind]) => kind));
  useEffect(() => {
    const make = () => {
      chart.current?.destroy();
      chart.current = new uPlot(options(frame.current, lines, exam.time_zone), data(), frame.current);
    };
    const resized = new ResizeObserver(() =>
      chart.current?.setSize({ width: frame.current.clientWidth, height: HEIGHT }),
    );
    const dark = matchMedia("(prefers-color-scheme: dark)");
    make();
    resized.observe(frame.current);
    dark.addEventListener("change", make);
    return () => {
      resized.disconnect();
      dark.removeEventListener("change", make);
      chart.current.destroy();
    };
  }, []);
  useEffect(() => chart.current?.setData(data()), [now]);
  return html`<figure class="chart">
    <figcaption>
      <h3>${title} <span class="soft">${unit}</span></h3>
      <ul class="legend">
        ${lines.map(
          ([kind, name, colour, dash]) => html`<li>
            <span class=${`swatch swatch-${colour} ${dash ? "swatch-dashed" : ""}`}></span>
            ${name} <b class="figure">${rate(lately(seconds, kind))}</b>
          </li>`,
        )}
      </ul>
    </figcaption>
    <div ref=${frame} role="img" aria-label=${t("ops-chart-of", { title })}></div>
  </figure>`;
}

function rows(seconds, now, kinds) {
  const times = Array.from({ length: SPAN_S }, (_, place) => now - SPAN_S + 1 + place);
  const line = (kind) => {
    let known = null; // what an answer that came late did not tell, for a few seconds
    return times.map((at) => {
      const value = seconds.get(at)?.[kind];
      if (value !== undefined) known = { at, value };
      return known !== null && at - known.at < CARRIED_S ? known.value : null;
    });
  };
  return [times, ...kinds.map(line)];
}

function options(frame, lines, timeZone) {
  const style = getComputedStyle(frame);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const axis = {
    stroke: colour("ink-soft"),
    font: `13px ${style.fontFamily}`,
    grid: { stroke: colour("line"), width: 1 },
    ticks: { show: false },
  };
  const form = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone };
  const clock = new Intl.DateTimeFormat(language, form);
  return {
    width: frame.clientWidth,
    height: HEIGHT,
    padding: [8, 20, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, 5)] } },
    axes: [
      { ...axis, values: (_, times) => times.map((at) => clock.format(at * 1000)), space: 70, size: 28 },
      { ...axis, size: 46 },
    ],
    series: [
      {},
      ...lines.map(([, , name, dash]) => ({
        stroke: colour(name),
        width: 2,
        dash: dash ? [6, 4] : undefined,
        points: { show: false },
      })),
    ],
  };
}
