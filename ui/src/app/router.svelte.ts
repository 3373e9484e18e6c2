// Which page is shown, and with what: everything of that is in the address, below the page's base.
import { BASE } from '../api/client';

class Router {
  /** The address below the base, with a slash at its front: `/runs`. */
  path = $state('/');
  query = $state.raw(new URLSearchParams());
  hash = $state('');

  constructor() {
    this.read();
    addEventListener('popstate', () => this.read());
    addEventListener('hashchange', () => this.read());
  }

  /** Goes to another page. */
  go(href: string): void {
    history.pushState(null, '', BASE + href.replace(/^\//, ''));
    this.read();
    scrollTo(0, 0);
  }

  /** Changes the query of this page; what is null or empty is left out. A change that nobody goes back from replaces the address. */
  set(changes: Record<string, string | null | undefined>, how: 'push' | 'replace' = 'replace'): void {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    const text = query.toString();
    const address = BASE + this.path.slice(1) + (text && `?${text}`) + location.hash;
    if (how === 'push') history.pushState(null, '', address);
    else history.replaceState(null, '', address);
    this.read();
  }

  private read(): void {
    const path = location.pathname;
    this.path = `/${path.startsWith(BASE) ? path.slice(BASE.length) : ''}`.replace(/(.)\/+$/, '$1');
    this.query = new URLSearchParams(location.search);
    this.hash = location.hash.slice(1);
  }
}

export const router = new Router();

/** The address of one of our pages, for `href`. */
export function link(path: string, query: Record<string, string> = {}): string {
  const text = new URLSearchParams(query).toString();
  return BASE + path.replace(/^\//, '') + (text && `?${text}`);
}

/** Follows links to our own pages without loading the document anew. */
export function followLinks(event: MouseEvent): void {
  const anchor = (event.target as Element | null)?.closest('a');
  if (
    !anchor ||
    event.defaultPrevented ||
    event.button !== 0 ||
    event.metaKey ||
    event.ctrlKey ||
    event.shiftKey ||
    event.altKey
  )
    return;
  if (anchor.target || anchor.hasAttribute('download') || anchor.origin !== location.origin) return;
  if (!anchor.pathname.startsWith(BASE) || anchor.pathname.startsWith(`${BASE}api/`) || anchor.pathname === `${BASE}docs`)
    return;
  event.preventDefault();
  router.go(anchor.pathname.slice(BASE.length) + anchor.search + anchor.hash);
}
