// Times and durations as people read them.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A length of time, from microseconds to days, in two units at the most: `480 ms`, `3.2 s`, `4 m 07 s`, `2 h 05 m`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (seconds < 0.0005) return seconds <= 0 ? '0 s' : '<1 ms';
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} m ${pad(whole % MINUTE)} s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)} h ${pad(Math.floor((whole % HOUR) / MINUTE))} m`;
  return `${Math.floor(whole / DAY)} d ${Math.floor((whole % DAY) / HOUR)} h`;
}

/** A moment as seen from `now`, both in milliseconds: `just now`, `3 min ago`, `in 2 h`, `5 days ago`. */
export function relative(moment: number, now: number): string {
  const seconds = (now - moment) / 1000;
  const size = Math.abs(seconds);
  if (size < 45) return seconds >= 0 ? 'just now' : 'in a moment';
  const text =
    size < 45 * MINUTE
      ? `${Math.max(1, Math.round(size / MINUTE))} min`
      : size < 22 * HOUR
        ? `${Math.max(1, Math.round(size / HOUR))} h`
        : plural(Math.max(1, Math.round(size / DAY)), 'day');
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}

/** The whole of a moment: `2026-11-23 01:22:34.567`, in the browser's zone or in UTC. */
export function absolute(moment: number, utc: boolean, withMilliseconds = false): string {
  const local = new Date(moment - (utc ? 0 : new Date(moment).getTimezoneOffset() * 60_000));
  const text = local.toISOString().replace('T', ' ');
  return (withMilliseconds ? text.slice(0, 23) : text.slice(0, 19)) + (utc ? ' UTC' : '');
}

/** The time of day with milliseconds, for lines of a log: `01:22:34.567`. */
export function timeOfDay(moment: number, utc: boolean): string {
  return absolute(moment, utc, true).slice(11, 23);
}

/** `1 run`, `2 runs`. */
export function plural(count: number, word: string, words = `${word}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? word : words}`;
}

function pad(value: number): string {
  return String(value).padStart(2, '0');
}
