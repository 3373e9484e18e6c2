// How long a run was in each of its states.
import { ENDED, type State, type StateType } from '../api/types';

export interface Span {
  type: StateType;
  name: string;
  message: string | null;
  /** Milliseconds since the epoch. */
  began: number;
  /** Null for the state it is in; an ended run stays there for ever. */
  ended: number | null;
  final: boolean;
}

/** The states in their order, each until the next one. */
export function spans(states: readonly Pick<State, 'type' | 'name' | 'message' | 'timestamp'>[]): Span[] {
  const sorted = states
    .map((state) => ({ state, began: Date.parse(state.timestamp) }))
    .sort((one, other) => one.began - other.began);
  return sorted.map(({ state, began }, n) => {
    const next = sorted[n + 1];
    return {
      type: state.type,
      name: state.name,
      message: state.message,
      began,
      ended: next ? next.began : null,
      final: next === undefined && ENDED.has(state.type),
    };
  });
}

/** The spans that last, with their part of the whole; the current one until `now`. */
export function shares(all: readonly Span[], now: number): { span: Span; part: number }[] {
  const lasting = all.filter(({ final }) => !final);
  const first = all[0]?.began ?? now;
  const last = all.at(-1)?.final ? (all.at(-1)?.began ?? now) : now;
  const whole = Math.max(last - first, 1e-9);
  return lasting.map((span) => ({ span, part: Math.max(0, ((span.ended ?? now) - span.began) / whole) }));
}
