// Brings anywidget views of a built page to life, with no kernel, no require.js, no other host.
// A page embeds the state of its widgets as JSON; each view stands before its still picture,
// which is hidden when the widget has rendered and stays where it cannot.
(() => {
  const STATE = 'script[type="application/vnd.jupyter.widget-state+json"]';
  const VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]';

  const bytes = ({ data }) => new DataView(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer);

  // the part of a widget's model that works without a kernel
  class Model {
    #listeners = new Map();

    constructor({ state, buffers = [] }) {
      this.state = state;
      for (const buffer of buffers) {
        const path = [...buffer.path], last = path.pop();
        path.reduce((node, key) => node[key], state)[last] = bytes(buffer);
      }
    }

    get(name) { return this.state[name]; }

    set(name, value) {
      const changes = typeof name === "object" ? name : { [name]: value };
      for (const [key, next] of Object.entries(changes)) {
        if (this.state[key] === next) continue;
        this.state[key] = next;
        this.#emit(`change:${key}`, this, next);
        this.#emit("change", this);
      }
    }

    on(names, listener) {
      for (const name of names.split(/\s+/)) {
        if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
        this.#listeners.get(name).add(listener);
      }
    }

    off(names, listener) {
      if (!names) return this.#listeners.clear();
      for (const name of names.split(/\s+/)) {
        if (listener) this.#listeners.get(name)?.delete(listener);
        else this.#listeners.delete(name);
      }
    }

    save_changes() {}
    send() {}

    #emit(name, ...values) { for (const f of [...(this.#listeners.get(name) ?? [])]) f(...values); }
  }

  async function load(model) {
    if (model.state._css) {
      document.head.append(Object.assign(document.createElement("style"), { textContent: model.state._css }));
    }
    const url = URL.createObjectURL(new Blob([model.state._esm], { type: "text/javascript" }));
    try {
      const found = (await import(url)).default;
      const widget = typeof found === "function" ? await found() : found;
      await widget.initialize?.({ model });
      return widget;
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  async function mount(model, view) {
    const el = document.createElement("div");
    view.before(el);
    try {
      model.widget ??= load(model);
      await (await model.widget).render({ model, el });
      view.closest(".widget")?.classList.add("widget-live");
    } catch (error) {
      el.remove();
      console.error("A widget could not be shown", error);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const entries = [...document.querySelectorAll(STATE)].map((tag) => JSON.parse(tag.textContent).state);
    const state = Object.assign({}, ...entries), models = new Map();
    for (const view of document.querySelectorAll(VIEW)) {
      const id = JSON.parse(view.textContent).model_id;
      if (state[id]?.model_module !== "anywidget") continue;   // its other representation stands
      if (!models.has(id)) models.set(id, new Model(state[id]));
      mount(models.get(id), view);
    }
  });
})();
