// Why a run is in its state, in one line.
import type { State } from '../api/types';

/** The exception that made it fail, or else what was said with the state; null if nothing was. */
export function reason(state: State | null): string | null {
  const error = state?.state_details['error'] as { type?: unknown; message?: unknown } | null | undefined;
  if (!error || typeof error.type !== 'string') return state?.message ?? null;
  const type = error.type.slice(error.type.lastIndexOf('.') + 1);
  const message = typeof error.message === 'string' ? error.message.trim().split('\n')[0] : '';
  return message ? `${type}: ${message}` : type;
}
