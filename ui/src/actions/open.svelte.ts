// Asking for an action: small, so that every page can offer actions before their dialogs are loaded.
import type { State } from '../api/types';
import type { Actionable, ActionName } from './rules';

export interface Asked {
  name: ActionName;
  runs: readonly Actionable[];
  /** Retry only: from this task run on. */
  from: { id: string; name: string } | null;
}

class Actions {
  /** What is asked for, until its dialog is closed. */
  asked = $state.raw<Asked | null>(null);
  /** The ids of flow runs that are being deleted: lists leave them out. */
  gone = $state.raw<ReadonlySet<string>>(new Set());

  /** Opens the dialog of an action; what is deleted goes at once, and can be taken back for some seconds. */
  open(name: ActionName, runs: readonly Actionable[]): void {
    if (runs.length === 0) return;
    if (name === 'delete') void import('./deleting').then(({ deleteRuns }) => deleteRuns(runs));
    else this.asked = { name, runs, from: null };
  }

  /** Asks to execute a task run of a flow run again, with everything that follows from it. */
  openRetryFrom(run: Actionable, taskRun: { id: string; name: string }): void {
    this.asked = { name: 'retry', runs: [run], from: { id: taskRun.id, name: taskRun.name } };
  }

  close(): void {
    this.asked = null;
  }
}

export const actions = new Actions();

/** The keys under which a paused run asks for something and waits for the answer. */
export function inputKeys(state: State | null): { schema?: string; response?: string; description?: string } {
  const keys = state?.state_details['run_input_keyset'];
  return typeof keys === 'object' && keys !== null ? (keys as { schema?: string; response?: string }) : {};
}
