// How a page looks: whether it is too wide, where its heading stands, which of its words are pale.
(() => {
  const channel = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parsed = (colour) => colour.match(/[\d.]+/g).map(Number);
  // What lies below a text: the nearest ancestor that is not transparent.
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parsed(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const hasWords = (element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim() !== "");
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && getComputedStyle(element).visibility === "visible";
  };
  const pale = [...document.body.querySelectorAll("*:not(svg, svg *)")]
    .filter((element) => hasWords(element) && isSeen(element))
    .map((element) => {
      const ratio = contrast(parsed(getComputedStyle(element).color), ground(element));
      return [ratio, `${ratio.toFixed(2)} ${element.nodeName}.${element.className} ${element.textContent.trim().slice(0, 40)}`];
    })
    .filter(([ratio]) => ratio < 4.5)
    .map(([, words]) => words);
  const heading = document.querySelector("h1").getBoundingClientRect();
  return {
    scroll_width: Math.max(document.documentElement.scrollWidth, innerWidth),
    heading_is_on_the_first_screen: heading.top >= 0 && heading.bottom <= innerHeight,
    pale: [...new Set(pale)],
  };
})()
