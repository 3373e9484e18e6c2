// Work that many events ask for, done seldom: soon after the first of them, and then not again before a pause.

export interface Throttled {
  /** Asks for it; it is done shortly after, or once the pause is over. */
  soon(): void;
  /** Does it now. */
  now(): void;
  stop(): void;
}

const FIRST = 50;

/** The pause is at least `gap` milliseconds, and longer where the work takes long, so that a slow server is not asked all the time. */
export function throttled(work: () => Promise<void>, gap = 1000): Throttled {
  let timer: ReturnType<typeof setTimeout> | null = null;
  let busy = false;
  let again = false;
  let stopped = false;
  let notBefore = 0;

  async function run(): Promise<void> {
    timer = null;
    busy = true;
    again = false;
    const began = Date.now();
    try {
      await work();
    } finally {
      const ended = Date.now();
      notBefore = began + Math.max(gap, 4 * (ended - began));
      busy = false;
      if (again) soon();
    }
  }

  function soon(): void {
    if (stopped || timer !== null) return;
    if (busy) again = true;
    else timer = setTimeout(() => void run(), Math.max(FIRST, notBefore - Date.now()));
  }

  return {
    soon,
    now() {
      if (timer !== null) clearTimeout(timer);
      timer = null;
      if (busy) again = true;
      else if (!stopped) void run();
    },
    stop() {
      stopped = true;
      again = false;
      if (timer !== null) clearTimeout(timer);
    },
  };
}
