// What the API tells of the value of a run.
import type { State } from '../../api/types';

export type Result =
  | { kind: 'value'; value: unknown }
  | { kind: 'kept'; serializer: string; key: string | null; size: number | null }
  | { kind: 'none' };

/** What is known of the value of a run in this state; of one that failed it is the exception, which is told elsewhere. */
export function told(state: Pick<State, 'type' | 'data'> | null): Result {
  const data = state?.data;
  if (state?.type !== 'COMPLETED' || typeof data !== 'object' || data === null) return { kind: 'none' };
  const record = data as Record<string, unknown>;
  if ('value' in record) return { kind: 'value', value: record['value'] };
  const { serializer, storage_key: key, size } = record;
  if (typeof serializer !== 'string') return { kind: 'value', value: data };
  return {
    kind: 'kept',
    serializer,
    key: typeof key === 'string' ? key : null,
    size: typeof size === 'number' ? size : null,
  };
}

/** A size in bytes: `106 bytes`, `4.2 kB`, `12 MB`. */
export function sized(bytes: number): string {
  if (bytes < 1000) return bytes === 1 ? '1 byte' : `${bytes} bytes`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes / 1000;
  let unit = 0;
  for (; value >= 999.5 && unit < units.length - 1; unit++) value /= 1000;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
