// Filters that are kept on the server under a name: each parameter of the address is one condition.
import { PARAMETERS } from './query';

export interface Saved {
  id: string;
  name: string;
  /** As it stands in the address, without the question mark. */
  query: string;
}

export interface Condition {
  object: string;
  property: string;
  type: string;
  operation: string;
  value?: unknown;
}

/** What of the address says which runs are listed, in one order. */
export function essence(address: URLSearchParams): string {
  const kept = PARAMETERS.flatMap((name) => {
    const value = address.get(name);
    return value ? [[name, value]] : [];
  });
  return new URLSearchParams(kept).toString();
}

export function conditionsOf(query: string): Condition[] {
  return [...new URLSearchParams(query)].map(([property, value]) => {
    return { object: 'flow_run', property, type: 'string', operation: 'equals', value };
  });
}

/** The query that was saved; null where it was saved by something else, in a way of its own. */
export function queryOf(conditions: readonly Condition[]): string | null {
  const query = new URLSearchParams();
  for (const { object, property, operation, value } of conditions) {
    if (object !== 'flow_run' || operation !== 'equals' || typeof value !== 'string') return null;
    if (!(PARAMETERS as readonly string[]).includes(property)) return null;
    query.set(property, value);
  }
  return essence(query);
}
