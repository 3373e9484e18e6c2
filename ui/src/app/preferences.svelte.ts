// What this browser's user likes: kept here, told to nobody.
export type Theme = 'system' | 'light' | 'dark';

interface Kept {
  theme: Theme;
  utc: boolean;
}

const KEY = 'tidemill.preferences';
const DEFAULTS: Kept = { theme: 'system', utc: false };

function read(): Kept {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Kept>) };
  } catch {
    return { ...DEFAULTS };
  }
}

const system = matchMedia('(prefers-color-scheme: dark)');

class Preferences {
  #kept = $state(read());
  #systemIsDark = $state(system.matches);

  constructor() {
    system.addEventListener('change', (event) => {
      this.#systemIsDark = event.matches;
      this.apply();
    });
    this.apply();
  }

  get theme(): Theme {
    return this.#kept.theme;
  }

  set theme(theme: Theme) {
    this.#kept.theme = theme;
    this.keep();
    this.apply();
  }

  /** Whether times are shown in UTC instead of the browser's own zone. */
  get utc(): boolean {
    return this.#kept.utc;
  }

  set utc(utc: boolean) {
    this.#kept.utc = utc;
    this.keep();
  }

  /** What is drawn on a canvas has to be drawn anew when this changes. */
  get isDark(): boolean {
    return this.theme === 'dark' || (this.theme === 'system' && this.#systemIsDark);
  }

  private apply(): void {
    document.documentElement.dataset['theme'] = this.isDark ? 'dark' : 'light';
  }

  private keep(): void {
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#kept));
    } catch {
      // then it is forgotten
    }
  }
}

export const preferences = new Preferences();
