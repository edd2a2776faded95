// Descriptions of elements, and the one function that makes the page match them.
//
// Views are pure: they return plain objects made by `h`. `patch` changes only what differs, so that
// focus, text selection and half-typed input survive a frame arriving from the server. Text becomes
// text nodes, never markup: nothing that came over the wire can turn into an element.

export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: flatten(children) };
}

function flatten(children, into = []) {
  for (const child of children) {
    if (Array.isArray(child)) flatten(child, into);
    else if (child === null || child === undefined || child === false || child === true) continue;
    else if (typeof child === "object") into.push(child);
    else into.push({ text: String(child) });
  }
  return into;
}

const drawn = new WeakMap();

export function patch(container, children) {
  const next = flatten([children]);
  // What stood in the container before the first patch (a noscript note) is not ours to keep.
  if (!drawn.has(container)) container.replaceChildren();
  reconcile(container, drawn.get(container) ?? [], next);
  drawn.set(container, next);
}

function reconcile(parent, before, after) {
  const matches = match(before, after);
  const kept = new Set(matches);
  for (const old of before) if (!kept.has(old)) old.node.remove();
  let cursor = parent.firstChild;
  after.forEach((vnode, i) => {
    const old = matches[i];
    if (old) update(old, vnode);
    else create(vnode);
    if (vnode.node === cursor) cursor = cursor.nextSibling;
    else parent.insertBefore(vnode.node, cursor);
  });
}

/** Pairs every new node with the old one it continues: by key, else the next unkeyed one of its kind. */
function match(before, after) {
  const keyed = new Map();
  const unkeyed = [];
  for (const old of before) {
    if (old.props?.key !== undefined) keyed.set(`${old.tag} ${old.props.key}`, old);
    else unkeyed.push(old);
  }
  return after.map((vnode) => {
    if (vnode.props?.key !== undefined) return keyed.get(`${vnode.tag} ${vnode.props.key}`);
    const at = unkeyed.findIndex((old) => old.tag === vnode.tag);
    return at < 0 ? undefined : unkeyed.splice(at, 1)[0];
  });
}

function create(vnode) {
  if (vnode.tag === undefined) {
    vnode.node = document.createTextNode(vnode.text);
    return;
  }
  vnode.node = document.createElement(vnode.tag);
  for (const [name, value] of Object.entries(vnode.props)) setProp(vnode.node, name, value, undefined);
  reconcile(vnode.node, [], vnode.children);
}

function update(old, vnode) {
  const { node } = old;
  vnode.node = node;
  if (vnode.tag === undefined) {
    if (old.text !== vnode.text) node.data = vnode.text;
    return;
  }
  for (const name of Object.keys(old.props)) {
    if (!(name in vnode.props)) setProp(node, name, undefined, old.props[name]);
  }
  for (const [name, value] of Object.entries(vnode.props)) setProp(node, name, value, old.props[name]);
  reconcile(node, old.children, vnode.children);
}

function setProp(node, name, value, before) {
  if (name === "key" || value === before) return;
  if (name.startsWith("on")) node[name.toLowerCase()] = value ?? null;
  else if (name === "style") setStyle(node, value ?? {}, before ?? {});
  else if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}

/** Through the object model: the content security policy forbids style attributes, not this. */
function setStyle(node, style, before) {
  for (const name of Object.keys(before)) if (!(name in style)) node.style.removeProperty(name);
  for (const [name, value] of Object.entries(style)) node.style.setProperty(name, String(value));
}
