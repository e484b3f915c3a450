"use strict";
(() => {
  const $ = (query, from = document) => from.querySelector(query);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const SVG = "http://www.w3.org/2000/svg";
  const STATE = {f: "final", o: "provisional", e: "empty", w: "waiting", x: "failed", ".": "missing",
    l: "is_late", n: "never"};

  // language and colours are remembered
  const store = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem("harvester." + name);
      localStorage.setItem("harvester." + name, value);
    } catch { /* a page in a file may have no memory */ }
    return null;
  };
  const language = () => $("#zh").checked ? 0 : 1;
  const setLanguage = () => { document.documentElement.lang = language() ? "en" : "zh-CN"; };
  for (const input of all("body > input[type=radio]")) {
    if (store(input.name) === input.id) input.checked = true;
    input.addEventListener("change", () => { store(input.name, input.id); setLanguage(); });
  }
  setLanguage();

  // elements; text is only ever text
  const made = (ns, name, attributes, children) => {
    const node = ns ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes))
      if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
    node.append(...children.flat(Infinity).filter((child) => child !== ""));
    return node;
  };
  const h = (name, attributes = {}, ...children) => made(false, name, attributes, children);
  const s = (name, attributes = {}, ...children) => made(true, name, attributes, children);
  const t = ([zh, en]) => zh === en ? [zh]
    : [h("span", {lang: "zh"}, zh), h("span", {lang: "en"}, en)];
  const icon = (state) => s("svg", {class: "i", viewBox: "0 0 10 10", "aria-hidden": "true"},
    s("use", {href: "#s-" + state}));

  // copying
  for (const button of all("[data-copy]")) {
    if (!navigator.clipboard) break;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy.split(" ").join("\n"));
      const before = [...button.childNodes];
      button.replaceChildren(...t(["已复制", "Copied"]));
      setTimeout(() => button.replaceChildren(...before), 1500);
    });
  }

  // the table of accounts
  const body = $("#rows");
  if (body) {
    const rows = [...body.rows];
    const texts = new Map(rows.map((row) => [row, row.cells[0].textContent.toLowerCase()]));
    const place = new Map(rows.map((row, at) => [row, at]));
    let limit = 40, filter = "all", order = "trouble", down = false;
    const FILTERS = {
      all: () => true,
      todo: (row) => row.dataset.state === "todo",
      late: (row) => row.dataset.late !== "0",
      incomplete: (row) => Number(row.dataset.share) < 1,
    };
    const ORDERS = {
      trouble: (a, b) => place.get(a) - place.get(b),
      name: (a, b) => texts.get(a).localeCompare(texts.get(b), "zh"),
      followers: (a, b) => b.dataset.followers - a.dataset.followers || place.get(a) - place.get(b),
      history: (a, b) => a.dataset.share - b.dataset.share || place.get(a) - place.get(b),
    };
    const show = () => {
      const words = $("#search").value.trim().toLowerCase();
      const found = rows.filter((row) => FILTERS[filter](row) && texts.get(row).includes(words));
      found.sort(ORDERS[order]);
      if (down) found.reverse();
      body.replaceChildren(...found.slice(0, limit));
      $("#nobody").hidden = found.length > 0;
      $("#more").hidden = found.length <= limit;
      const count = found.length.toLocaleString("en");
      $("#found").replaceChildren(...t([count + " 个", count]));
      for (const button of all("[data-sort]")) {
        const cell = button.closest("th");
        if (button.dataset.sort !== order) cell.removeAttribute("aria-sort");
        else cell.setAttribute("aria-sort", down === (order === "followers") ? "ascending" : "descending");
      }
    };
    $("#accounts .tools").hidden = false;
    $("#search").addEventListener("input", () => { limit = 40; show(); });
    $("#more").addEventListener("click", () => { limit += 40; show(); });
    for (const button of all("[data-filter]")) button.addEventListener("click", () => {
      filter = button.dataset.filter; limit = 40;
      for (const other of all("[data-filter]")) other.setAttribute("aria-pressed", other === button);
      show();
    });
    for (const button of all("[data-sort]")) button.addEventListener("click", () => {
      down = button.dataset.sort === order && !down;
      order = button.dataset.sort;
      show();
    });
    show();
  }

  // one account
  let data = null;
  let curves = null;
  const unpacked = async (id) => {
    if (!$(id)) return null;
    const bytes = Uint8Array.from(atob($(id).textContent), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  };
  const DAY = 86400000;
  const iso = (day) => new Date(day * DAY).toISOString().slice(0, 10);
  const number = (iso8601) => Date.parse(iso8601 + "T00:00:00Z") / DAY;
  const days = (row) => data.shapes[row[2]].flatMap(([letter, count]) => Array(count).fill(letter));
  const have = (letters) => letters.filter((one) => "feon".includes(one)).length;
  const asked = (letters) => letters.filter((one) => STATE[one]).length;
  const percent = (part, whole) => !whole ? "–" : part === whole ? "100%"
    : !part ? "0%" : Math.min(Math.max(100 * part / whole, 0.1), 99.9).toFixed(1) + "%";

  const reason = ([kind, ip, interfaces, count, sentence, rid]) => {
    const names = (at) => interfaces.map((one) => data.interfaces[one][1][at]).join(at ? ", " : "、");
    const title = data.kinds[kind].map((text, at) => text.replace("{ip}", ip).replace("{since}", ip)
      .replace("{interfaces}", names(at)));
    const shown = kind === "permission" || kind === "retired" ? ["", ""] : [" · " + names(0), " · " + names(1)];
    const state = ["quota", "late", "month"].includes(kind) ? "waiting" : kind === "missing" ? "missing" : "failed";
    const reach = [`${shown[0]}，${count.toLocaleString("en")} 天`, `${shown[1]}, ${count.toLocaleString("en")} days`];
    return h("li", {}, icon(state), h("span", {}, t(title), h("span", {class: "note"}, t(reach)),
      data.sentences[sentence] ? h("div", {}, h("code", {}, h("bdi", {}, data.sentences[sentence]), rid ? " rid " + rid : "")) : ""));
  };

  const strip = (row, first, last) => {
    const paths = {};
    let at = number(row[1]) - first;
    for (const [letter, count] of data.shapes[row[2]]) {
      const state = STATE[letter];
      if (state) paths[state] = (paths[state] || "") + `M${at} 1h${count}v20h-${count}z`;
      at += count;
    }
    return s("svg", {class: "cols", viewBox: `0 0 ${last - first} 22`, preserveAspectRatio: "none",
      "aria-hidden": "true"}, Object.entries(paths).map(([state, d]) => s("path", {class: state, d})));
  };

  const calendar = (row) => {
    const letters = days(row), first = number(row[1]), years = new Map();
    letters.forEach((letter, at) => {
      const day = first + at, when = new Date(day * DAY), year = when.getUTCFullYear();
      if (!STATE[letter]) return;
      const start = Date.UTC(year, 0, 1) / DAY, shift = (new Date(start * DAY).getUTCDay() + 6) % 7;
      const cell = day - start + shift, x = Math.floor(cell / 7) * 10, y = cell % 7 * 10 + 12;
      if (!years.has(year)) years.set(year, {paths: {}, dots: ""});
      const of = years.get(year), state = STATE[letter];
      const shape = state === "waiting" || state === "is_late" ? `M${x + 4} ${y}h5v9h-9v-5z`
        : state === "missing" || state === "empty" || state === "never" ? `M${x + .5} ${y + .5}h8v8h-8z` : `M${x} ${y}h9v9h-9z`;
      of.paths[state] = (of.paths[state] || "") + shape;
      if (state === "failed") of.dots += `M${x + 3} ${y + 3}h3v3h-3z`;
    });
    const output = h("output", {"aria-live": "polite"}, t(["←→↑↓ 逐日读", "←→↑↓ read day by day"]));
    let at = Math.max(letters.findLastIndex((one) => STATE[one]), 0);
    const mark = s("rect", {class: "at", width: 9, height: 9});
    const pictures = new Map();
    const read = () => {
      const day = iso(first + at), state = STATE[letters[at]];
      output.replaceChildren(day + " ", ...t(state ? data.texts[state] : ["—", "—"]));
      const year = +day.slice(0, 4), start = Date.UTC(year, 0, 1) / DAY;
      const cell = first + at - start + (new Date(start * DAY).getUTCDay() + 6) % 7;
      mark.setAttribute("x", Math.floor(cell / 7) * 10);
      mark.setAttribute("y", cell % 7 * 10 + 12);
      if (pictures.has(year)) pictures.get(year).append(mark);
    };
    const grid = h("div", {class: "years", tabindex: 0, role: "application",
      "aria-label": language() ? "Calendar; arrow keys read the days" : "日历；用方向键逐日查看"});
    for (const year of [...years.keys()].sort((a, b) => b - a)) {
      const {paths, dots} = years.get(year);
      const picture = s("svg", {viewBox: "-26 0 566 84", "aria-hidden": "true"},
        s("text", {x: -26, y: 20}, String(year)),
        [...Array(12).keys()].map((month) => {
          const start = Date.UTC(year, 0, 1), shift = (new Date(start).getUTCDay() + 6) % 7;
          const week = Math.floor(((Date.UTC(year, month, 1) - start) / DAY + shift + 6) / 7);
          return s("text", {x: week * 10, y: 8}, String(month + 1));
        }),
        Object.entries(paths).map(([state, d]) => s("path", {class: state, d})),
        dots ? s("path", {class: "dot", d: dots}) : "");
      pictures.set(year, picture);
      grid.append(picture);
    }
    grid.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1}[event.key];
      if (!step) return;
      event.preventDefault();
      at = Math.min(Math.max(at + step, 0), letters.length - 1);
      read();
    });
    return [output, grid];
  };

  const table = (row) => {
    let day = number(row[1]);
    const lines = data.shapes[row[2]].map(([letter, count]) => {
      const line = STATE[letter] && h("tr", {}, h("td", {}, t(data.texts[STATE[letter]])),
        h("td", {}, iso(day)), h("td", {}, iso(day + count - 1)),
        h("td", {class: "num"}, count.toLocaleString("en")));
      day += count;
      return line;
    }).filter(Boolean).slice(-500).reverse();
    const heads = ["state", "from", "to", "days"].map((key) =>
      h("th", {scope: "col", class: key === "days" ? "num" : null}, t(data.texts[key])));
    return h("table", {class: "plain"}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines));
  };

  // curves: bars above, bars below, or a line; what is null is hatched
  const compact = (value, digits = 1) => [[[1e8, "亿"], [1e4, "万"]], [[1e9, "B"], [1e6, "M"], [1e3, "k"]]].map((units) => {
    const unit = units.find(([size]) => Math.abs(value) >= Math.max(size, 1e4));
    if (!unit) return value.toLocaleString("en");
    const scaled = value / unit[0];
    return scaled.toFixed(digits > 1 ? digits : Math.abs(scaled) >= 100 || scaled % 1 === 0 ? 0 : 1) + unit[1];
  });
  const sum = (values) => values.reduce((total, value) => total + (value || 0), 0);
  const round = (value) => {
    const step = 10 ** Math.floor(Math.log10(value)) / 2;
    return Math.max(Math.ceil(value / step) * step, 2);
  };
  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const RANGES = [[30, ["30 天", "30 d"]], [90, ["90 天", "90 d"]], [182, ["半年", "6 mo"]],
    [365, ["1 年", "1 yr"]], [Infinity, ["全部", "All"]]];
  let range = 182, chosenYear = 0;

  const placed = (node, side, share) => { node.style[side] = (100 * share).toFixed(2) + "%"; return node; };
  const ticks = (first, count) => {
    const found = [];
    for (let at = 0; at < count; at += 1) {
      const [year, month, day] = iso(first + at).split("-");
      if (count <= 45 ? (count - at) % 7 === 4 : day === "01")
        found.push([at, count <= 45 ? [month + "-" + day, month + "-" + day]
          : month === "01" ? [year, year] : [+month + "月", MONTHS[month - 1]]]);
    }
    const years = found.filter(([, text]) => text[0] === text[1]);
    const shown = count > 900 ? years : found, step = Math.ceil(shown.length / 7);
    return h("div", {class: "x", "aria-hidden": "true"}, shown.filter((_, at) => at % step === 0)
      .map(([at, text]) => placed(h("span", {}, t(text)), "left", at / count)));
  };
  const chart = (title, total, note, {above, below, line, last, before = []}) => {
    const begin = Math.max((above || line).findIndex((value) => value !== null), 0);
    [above, below, line] = [above, below, line].map((curve) => curve && curve.slice(begin));
    const shown = above || line, count = shown.length, first = last - count + 1;
    const known = shown.filter((value) => value !== null), most = Math.max(...known, 0);
    const under = below ? Math.max(...below, 0) : 0;
    const top = line ? most : round(Math.max(most, under / 2, 1)), low = line ? Math.min(...known, most) - 1 : 0;
    const deep = below ? round(Math.max(under, top / 4)) : 0, full = 96 * top / (top + deep);
    const high = (value) => full * (value - low) / (top - low);
    const paths = {up: "", down: "", none: ""};
    let curve = "", mean = "";
    const whole = [...before, ...shown], lead = before.length;
    shown.forEach((value, at) => {
      if (value === null) { paths.none += `M${at * 4} 0h4v96h-4z`; return; }
      if (line) curve += `${curve && shown[at - 1] !== null ? "L" : "M"}${at * 4 + 2} ${(96 - 96 * (value - low) / (top - low)).toFixed(1)}`;
      else paths.up += `M${at * 4} ${(full - high(value)).toFixed(1)}h3v${high(value).toFixed(1)}h-3z`;
      if (below) paths.down += `M${at * 4} ${full.toFixed(1)}h3v${high(below[at] || 0).toFixed(1)}h-3z`;
      const week = above && !below ? whole.slice(Math.max(at + lead - 6, 0), at + lead + 1) : [null];
      if (week.length === 7 && !week.includes(null))
        mean += `${mean && whole[at + lead - 7] !== null ? "L" : "M"}${at * 4 + 2} ${(full - high(sum(week) / 7)).toFixed(1)}`;
    });
    const output = h("output", {"aria-live": "polite"}, t(data.texts.most), " ", most.toLocaleString("en"));
    let at = count - 1;
    const read = () => {
      const value = shown[at], also = below ? [below[at]] : [];
      output.textContent = iso(first + at) + ": " + [value, ...also].map((one) =>
        one === null || one === undefined ? "–" : one.toLocaleString("en")).join(" / ");
    };
    const lines = line ? [[0, top], [1, Math.max(low, 0)]] : below
      ? [[0, top], [full / 96, 0], [1, deep]] : [[0, top], [.5, top / 2], [1, 0]];
    let digits = 1;
    while (line && digits < 4 && compact(top, digits)[1] === compact(Math.max(low, 0), digits)[1]) digits += 1;
    const picture = h("div", {class: "plot", tabindex: 0, role: "application", "aria-label": title[language()]},
      s("svg", {class: "chart", viewBox: `0 0 ${count * 4} 96`, preserveAspectRatio: "none", "aria-hidden": "true"},
        lines.map(([place]) => s("path", {class: "level", d: `M0 ${(place * 96).toFixed(1)}h${count * 4}`})),
        s("path", {class: line ? null : below ? "final" : "readers", d: paths.up}), s("path", {class: "lost", d: paths.down}),
        s("path", {class: "line", d: curve + mean}), s("path", {fill: "url(#hatch)", d: paths.none})),
      h("div", {class: "y", "aria-hidden": "true"},
        lines.map(([place, value]) => placed(h("span", {}, t(compact(value, digits))), "top", place))));
    picture.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7}[event.key];
      if (!step) return;
      event.preventDefault();
      at = Math.min(Math.max(at + step, 0), count - 1);
      read();
    });
    picture.addEventListener("pointermove", (event) => {
      const box = $("svg", picture).getBoundingClientRect();
      at = Math.min(Math.max(Math.floor((event.clientX - box.left) / box.width * count), 0), count - 1);
      read();
    });
    return h("div", {class: "card"}, h("h3", {}, t(title), " ", h("b", {}, t(total)), " ", h("span", {class: "note"}, note)),
      picture, h("div", {class: "plot"}, ticks(first, count)), output);
  };

  const bar = (value, most) => h("span", {class: "meter"}, placed(h("span", {}), "width", value / most));
  const sources = (title, found) => {
    const whole = sum(found.map((one) => one[1])), most = Math.max(...found.map((one) => one[1]));
    return h("div", {class: "card"}, h("h3", {}, t(title), " ", h("span", {class: "note"}, t(data.texts.no_sum))),
      h("table", {class: "bars"}, h("tbody", {}, found.filter((one) => one[1] > 0).map(([name, people]) => h("tr", {},
        h("th", {scope: "row"}, t(curves.sources_named[name])), h("td", {}, bar(people, most)),
        h("td", {class: "num"}, percent(people, whole)))))));
  };

  // by year: the months and the most read articles of one account
  const amount = (value) => value === null ? "–" : value.toLocaleString("en");
  const signed = (value) => value === null ? "–" : (value > 0 ? "+" : "") + amount(value);
  const monthly = (row, known, year) => {
    const texts = data.texts, [first, columns] = known, lines = [];
    const letters = row ? days(row) : [], start = row ? number(row[1]) : 0, sums = [null, null];
    const part = (begin, end) => {
      const stored = have(letters.slice(Math.max(begin - start, 0), Math.max(end - start, 0)));
      const share = percent(stored, end - begin);
      return row && stored < end - begin ? h("small", {}, t([`已存 ${share} 的天数`, `${share} of days stored`])) : "";
    };
    for (let month = 12 * year + 11; month >= 12 * year; month -= 1) {
      const [gained, lost, followers, day] = columns.map((column) => column[month - first] ?? null);
      if (gained === null && lost === null && followers === null) continue;
      [gained, lost].forEach((value, at) => { if (value !== null) sums[at] = (sums[at] || 0) + value; });
      const at = month % 12, begin = Date.UTC(year, at, 1) / DAY, end = Date.UTC(year, at + 1, 1) / DAY;
      lines.push(h("tr", {}, h("th", {scope: "row"}, t([at + 1 + "月", MONTHS[at]]),
        part(begin, end)),
        [amount(gained), amount(lost), signed(gained === null ? null : gained - (lost || 0))].map(cell),
        h("td", {class: "num"}, amount(followers), day ? h("small", {}, t([`${at + 1}月${day}日`, `${MONTHS[at]} ${day}`])) : "")));
    }
    if (!lines.length) return h("p", {}, t(texts.no_months));
    lines.push(h("tr", {class: "sum"}, h("th", {scope: "row"}, t(texts.whole_year), part(Date.UTC(year, 0, 1) / DAY, Date.UTC(year + 1, 0, 1) / DAY)), cell(amount(sums[0])),
      cell(amount(sums[1])), cell(signed(sums[0] === null ? null : sums[0] - (sums[1] || 0))), h("td")));
    const heads = ["month", "month_gained", "month_lost", "month_net", "month_end"].map((key, at) =>
      h("th", {scope: "col", class: at ? "num" : null}, t(texts[key])));
    return h("div", {class: "wide", tabindex: 0, role: "region", "aria-label": texts.by_month.join(" / ")},
      h("table", {class: "plain months"}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines)));
  };
  const cell = (text) => h("td", {class: "num"}, text);
  const title = (text, url) => url.startsWith("https://mp.weixin.qq.com/")
    ? h("a", {href: url, target: "_blank", rel: "noopener noreferrer"}, h("bdi", {}, text)) : h("bdi", {}, text);
  const articles = (found) => {
    const texts = data.texts, counts = found.some((one) => one[4] !== null);
    const heads = [["#"], t(texts.article), t(texts.article_readers), t(texts.article_reads)].slice(0, counts ? 4 : 3);
    const piece = (...parts) => h("span", {}, parts);
    return h("table", {class: "articles"},
      h("thead", {}, h("tr", {}, heads.map((text, at) => h("th", {scope: "col", class: at === 1 ? null : "num"}, text)))),
      h("tbody", {}, found.map(([readers, day, text, url, reads, until, added, published], at) => h("tr", {}, cell(String(at + 1)),
        h("th", {scope: "row"}, title(text, url), h("small", {}, piece(t(published ? texts.published : texts.first_read), " " + day), " · ",
          added ? [piece(t([`${amount(added)} 天相加`, `${amount(added)} ${added === 1 ? "day" : "days"} added up`])), " · "] : "",
          piece(t(texts.counted_to), " " + until))),
        cell(amount(readers)), counts ? cell(amount(reads)) : ""))));
  };
  const byYear = (at) => {
    const texts = data.texts, [counts, kept] = curves.articles[at], known = curves.months[at], [first, columns] = known;
    const row = data.accounts[at][2].find(([place]) => data.interfaces[place][0] === "getusersummary");
    const found = new Set(counts.map(([year]) => year));
    columns[0].forEach((_, month) => { if (columns.slice(0, 3).some((column) => column[month] !== null)) found.add(Math.floor((first + month) / 12)); });
    if (!found.size) return "";
    const panels = [...found].sort((a, b) => b - a).map((year, place) => {
      const count = (counts.find(([one]) => one === year) || [0, 0])[1];
      const most = kept.filter((one) => one[1].startsWith(year + "-"));
      const of = most.length ? [` · ${amount(count)} 篇中的 ${most.length} 篇`, ` · ${most.length} of ${amount(count)}`] : ["", ""];
      const id = "one-" + year;
      return [h("input", {type: "radio", name: "year-of-one", id, class: "vh", "aria-label": year, checked: place === 0}), h("label", {for: id}, year),
        h("div", {class: "panel"},
          h("div", {class: "card"}, h("h3", {}, t(texts.by_month), " ", h("span", {class: "note"}, year)), monthly(row, known, year)),
          h("div", {class: "card"}, h("h3", {}, t(texts.most_read), " ", h("span", {class: "note"}, year, t(of))),
            most.length ? articles(most) : h("p", {}, t(count ? texts.not_in_page : texts.no_articles))))];
    });
    const since = curves.since ? t([` 本页只有 ${curves.since} 年起的月份。`, ` The page has the months from ${curves.since} on.`]) : "";
    return h("section", {id: "years-of-one"}, h("div", {class: "head"}, h("h2", {}, t(texts.by_year)), h("span", {class: "note"}, t(texts.choose_year))),
      h("div", {class: "tabs"}, panels.flat()), h("p", {class: "note"}, t(texts.by_year_note), since));
  };
  const charts = (place) => {
    if (!curves) return "";
    const texts = data.texts;
    const [readersFrom, gainedFrom] = curves.sources[place];
    const cards = h("div", {class: "cards uneven"});
    const length = Math.max(0, ...curves.curves[place].map((curve) => curve ? curve.length - curve.findIndex((value) => value !== null) : 0));
    const [allReaders, allGained, allLost, allFollowers] = curves.curves[place].map((curve) => curve && curve.slice(curve.length - length));
    const end = number(curves.last), begin = end - length + 1;
    const draw = () => {
      const from = chosenYear ? Math.max(number(chosenYear + "-01-01") - begin, 0) : Math.max(length - range, 0);
      const to = chosenYear ? Math.min(number(chosenYear + "-12-31") - begin + 1, length) : length;
      const [readers, gained, lost, followers] = [allReaders, allGained, allLost, allFollowers]
        .map((curve) => curve && curve.slice(from, to));
      const day = begin + to - 1;
      const net = sum(gained || []) - sum(lost || []);
      const key = (name, total, text) => [s("svg", {class: "i", viewBox: "0 0 10 10", "aria-hidden": "true"},
        s("path", {class: name, d: "M0 0h10v10h-10z"})), " ", total.toLocaleString("en"), " ", t(text), " "];
      const last = followers && amount(followers.findLast((value) => value !== null) ?? null);
      cards.replaceChildren(...[
        readers && chart(texts.readers, compact(sum(readers)), t(texts.added_up_mean),
          {above: readers, last: day, before: allReaders.slice(0, from).slice(-7)}),
        readersFrom.length && sources(texts.readers_from, readersFrom),
        gained && chart(texts.gained, compact(net).map((text) => net >= 0 ? "+" + text : text),
          [key("final", sum(gained), texts.came), key("lost", sum(lost || []), texts.went)].flat(2), {above: gained, below: lost || [], last: day}),
        followers && chart(texts.followers, [last, last], t(texts.now), {line: followers, last: day}),
        gainedFrom.length && sources(texts.gained_from, gainedFrom),
      ].filter(Boolean));
    };
    const years = [];
    for (let year = +curves.last.slice(0, 4); length > 366 + 31 && number(year + "-12-31") >= begin; year -= 1) years.push(year);
    if (!years.includes(chosenYear)) chosenYear = 0;
    draw();
    if (!cards.children.length) return "";
    const offered = RANGES.filter((_, at) => !at || RANGES[at - 1][0] < length);
    const chosen = offered.some(([size]) => size === range) ? range : offered[offered.length - 1][0];
    const buttons = offered.map(([size, text]) => {
      const button = h("button", {type: "button", "aria-pressed": String(!chosenYear && size === chosen)}, t(text));
      button.addEventListener("click", () => {
        range = size; chosenYear = 0; select.value = "";
        for (const other of buttons) other.setAttribute("aria-pressed", other === button);
        draw();
      });
      return button;
    });
    const select = h("select", {"aria-label": "年 / Year"}, h("option", {value: ""}, "年 / Year"),
      years.map((year) => h("option", {value: year, selected: year === chosenYear}, year)));
    select.addEventListener("change", () => {
      chosenYear = +select.value;
      for (const button of buttons) button.setAttribute("aria-pressed", !chosenYear && button === buttons[offered.findIndex(([size]) => size === chosen)]);
      draw();
    });
    return h("section", {id: "figures"}, h("div", {class: "head"}, h("h2", {}, t(texts.figures)),
      h("span", {class: "note"}, t(texts.by_day_hatched)), length ? h("span", {class: "tools"},
        h("span", {class: "seg", role: "group"}, buttons), years.length ? select : "") : ""), cards);
  };

  const legend = (rows) => {
    const there = new Set(rows.flatMap((row) => data.shapes[row[2]].map(([letter]) => STATE[letter])));
    return h("span", {class: "legend right"}, Object.values(STATE).filter((state) => there.has(state)).map((state) =>
      h("span", {}, icon(state), t(data.texts[state]))));
  };

  const view = (at, alone) => {
    const [appid, name, rows, reasons, newest, shape] = data.accounts[at];
    const first = Math.min(...rows.map((row) => number(row[1])));
    const last = Math.max(...rows.map((row) => number(row[1]) + days(row).length));
    const chosen = h("section", {});
    const choose = (row, button) => {
      for (const other of all(".coverage button", $("#one"))) other.setAttribute("aria-pressed", other === button);
      const [name, title] = data.interfaces[row[0]];
      chosen.replaceChildren(
        h("div", {class: "head"}, h("h2", {}, t(title), " ", t(data.texts.by_day)), h("code", {}, name)),
        h("div", {class: "card"}, calendar(row)),
        h("details", {}, h("summary", {}, t(data.texts.as_table)), h("div", {class: "wide"}, table(row))));
    };
    const lines = rows.map((row) => {
      const [name, title] = data.interfaces[row[0]], letters = days(row);
      const button = h("button", {type: "button", "aria-pressed": "false"}, t(title));
      button.addEventListener("click", () => choose(row, button));
      return h("tr", {}, h("th", {scope: "row"}, button, " ", h("code", {}, name)),
        h("td", {}, strip(row, first, last)),
        h("td", {class: "num"}, percent(have(letters), asked(letters))));
    });
    const other = (to, text) => {
      const [id, name] = data.accounts[to] || [];
      return id ? h("a", {href: "#" + encodeURIComponent(id)}, text[0], h("bdi", {}, name || id), text[1]) : "";
    };
    const nav = alone ? "" : h("div", {class: "nav"}, h("a", {href: "#"}, t(data.texts.back)),
      h("span", {}, other(at - 1, ["‹ ", ""]), other(at + 1, ["", " ›"])));
    const state = newest[1][0] ? newest[0].map((text, at) => text + " · " + newest[1][at]) : newest[0];
    $("#one").replaceChildren(nav,
      h("h1", {tabindex: -1}, h("bdi", {}, name || appid), name ? " " : "", name ? h("code", {}, appid) : ""),
      alone ? "" : h("ul", {class: "clauses"}, h("li", {}, icon(shape),
        h("span", {}, t(data.texts.newest), " · ", t(state))), reasons.map(reason)),
      charts(at), curves && !alone ? byYear(at) : "",
      h("section", {}, h("div", {class: "head"}, h("h2", {}, t(data.texts.coverage)),
        h("span", {class: "note"}, iso(first), " – ", iso(last - 1), " · ", t(data.texts.pick)), legend(rows)),
        h("table", {class: "coverage"}, h("tbody", {}, lines))),
      chosen);
    const button = $(".coverage button", $("#one"));
    if (button) choose(rows[0], button);
  };

  const route = async () => {
    let wanted = location.hash.slice(1);
    try { wanted = decodeURIComponent(wanted); } catch { /* no account has such a name */ }
    if (wanted && !data) [data, curves] = [await unpacked("#data"), await unpacked("#curves")];
    const at = wanted ? data.accounts.findIndex((account) => account[0] === wanted) : -1;
    $("#one").hidden = at < 0;
    $("#all").hidden = at >= 0;
    if (at < 0) return;
    view(at, false);
    window.scrollTo(0, 0);
    $("#one h1").focus({preventScroll: true});
  };
  const begin = async () => {
    if (!window.DecompressionStream) return;
    if (!body && $("#coverage")) {
      [data, curves] = [await unpacked("#data"), await unpacked("#curves")];
      view(0, true);
      $("#one").hidden = false;
      $("#one").className = "alone";
      $("#coverage").hidden = true;
      return;
    }
    addEventListener("hashchange", route);
    await route();
  };
  begin();
})();
