// uPlot, the only script here that is not ours, loaded when a chart is first drawn.
let loading = null;

// Resolves to the uPlot class.
export function uPlot() {
  loading ??= new Promise((resolve, reject) => {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = "static/uplot/uPlot.min.css";
    const script = document.createElement("script");
    script.src = "static/uplot/uPlot.iife.min.js";
    script.onload = () => resolve(window.uPlot);
    script.onerror = () => reject(new Error("uPlot could not be loaded from this page's server."));
    document.head.append(style, script);
  });
  return loading;
}

// The colour that a name of page.css has now, such as colour("ink"). Draw anew on the window's event "theme".
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
