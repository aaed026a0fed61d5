// A deck starts when its mathematics is typeset: hidden slides have no size to measure.
window.MathJax = {
  tex: { inlineMath: [["$", "$"], ["\\(", "\\)"]], processEscapes: true },
  options: { skipHtmlTags: { "[+]": ["code", "pre"] } },
  startup: {
    pageReady: () => MathJax.startup.defaultPageReady().finally(() => {
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      return Reveal.initialize({
        width: 1280,
        height: 720,
        margin: 0,
        center: false,
        hash: true,
        slideNumber: "c/t",
        transition: still ? "none" : "fade",
        transitionSpeed: "fast",
        pdfSeparateFragments: false,
        plugins: [RevealNotes],
      });
    }),
  },
};
