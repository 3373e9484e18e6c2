import { expect, it } from 'vitest';
import type { State } from '../api/types';
import { reason } from './reason';

const state = (error: unknown, message: string | null = 'Flow run encountered an exception.'): State =>
  ({ type: 'FAILED', name: 'Failed', message, state_details: { error } }) as unknown as State;

it.each([
  [state({ type: 'builtins.ValueError', message: '13 rows\nat most 10' }), 'ValueError: 13 rows'],
  [state({ type: 'KeyboardInterrupt', message: '' }), 'KeyboardInterrupt'],
  [state(null), 'Flow run encountered an exception.'],
  [state(undefined, null), null],
  [null, null],
])('tells the reason', (given, told) => expect(reason(given)).toBe(told));
