// The time of day for what ticks: durations of what runs, and "3 minutes ago". It stands still while nobody looks at it.
import { createSubscriber } from 'svelte/reactivity';

function ticking(milliseconds: number): () => number {
  const subscribe = createSubscriber((update) => {
    const tick = (): void => {
      if (!document.hidden) update();
    };
    const timer = setInterval(tick, milliseconds);
    document.addEventListener('visibilitychange', tick);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', tick);
    };
  });
  return () => {
    subscribe();
    return Date.now();
  };
}

/** Now, to a fraction of a second: for what runs. Read in a template or an effect, it is read again as time goes by. */
export const soon = ticking(250);

/** Now, to half a minute: for "ago". */
export const lately = ticking(30_000);
