// A deck starts when its mathematics is typeset: hidden slides have no size to measure.
(() => {
  const HEIGHT = 720, LEAST = 240;

  // a picture gives way to the text above it, down to a height that still reads
  function fit(slide) {
    for (const picture of slide.querySelectorAll(".picture img")) {
      const excess = slide.scrollHeight - HEIGHT;
      if (excess > 0 && picture.clientHeight - excess >= LEAST) {
        picture.style.maxHeight = `${picture.clientHeight - excess}px`;
      }
    }
  }

  async function start() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    Reveal.on("ready", ({ currentSlide }) => fit(currentSlide));
    Reveal.on("slidechanged", ({ currentSlide }) => fit(currentSlide));
    await Reveal.initialize({
      width: 1280,
      height: HEIGHT,
      margin: 0,
      center: false,
      hash: true,
      slideNumber: "c/t",
      transition: still ? "none" : "fade",
      transitionSpeed: "fast",
      pdfSeparateFragments: false,
      plugins: [RevealNotes],
    });
  }

  window.MathJax = {
    chtml: { matchFontHeight: false, scale: 1.1 },
    tex: { inlineMath: [["$", "$"], ["\\(", "\\)"]], processEscapes: true },
    startup: { pageReady: () => MathJax.startup.defaultPageReady().finally(start) },
  };
})();
