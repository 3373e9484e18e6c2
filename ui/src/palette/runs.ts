// What the palette offers for the run whose page is shown.
import { actions } from '../actions/open.svelte';
import { ACTION_WORDS, availableActions, type Actionable } from '../actions/rules';
import { session } from '../app/session.svelte';
import { copied } from '../parts/copied';
import type { Entry } from './entries';

const RUN = /^\/runs\/(?:flow-run\/)?([0-9a-f-]{32,36})$/;

/** The id of the flow run that a page is about, if it is about one. */
export function runOf(path: string): string | null {
  return RUN.exec(path)?.[1] ?? null;
}

/** Its actions, as far as its state and the user's role allow them, and what one copies of it. */
export function runEntries(run: Actionable): Entry[] {
  return [
    ...availableActions(run, session.me?.role ?? null).map((name) => ({
      id: `act-${name}`,
      text: `${ACTION_WORDS[name]}: ${run.name}`,
      run: () => actions.open(name, [run]),
    })),
    copying('copy-id', "Copy this run's id", run.id),
    copying('copy-retry', 'Copy the command that retries this run', `tidemill flow-run retry ${run.id}`),
    copying('copy-logs', 'Copy the command that shows its logs', `tidemill flow-run logs ${run.id}`),
  ];
}

function copying(id: string, text: string, what: string): Entry {
  return { id, text, run: () => void copied(what) };
}
