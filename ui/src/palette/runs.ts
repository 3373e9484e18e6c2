// What the palette offers for the run whose page is shown.
import type { Entry } from './entries';
import { toasts } from '../app/toasts.svelte';

const RUN = /^\/runs\/(?:flow-run\/)?([0-9a-f-]{32,36})$/;

/** The id of the flow run that a page is about, if it is about one. */
export function runOf(path: string): string | null {
  return RUN.exec(path)?.[1] ?? null;
}

export function runEntries(path: string): Entry[] {
  const id = runOf(path);
  if (id === null) return [];
  const copy = (text: string, what: string): Entry['run'] => {
    return () =>
      void navigator.clipboard.writeText(text).then(
        () => toasts.done(`Copied ${what}.`),
        (error: unknown) => toasts.failed(error, 'The browser does not let us copy'),
      );
  };
  return [
    { id: 'copy-id', text: "Copy this run's id", run: copy(id, 'the id') },
    {
      id: 'copy-retry',
      text: 'Copy the command that retries this run',
      run: copy(`tidemill flow-run retry ${id}`, 'the command'),
    },
    { id: 'copy-logs', text: 'Copy the command that shows its logs', run: copy(`tidemill flow-run logs ${id}`, 'the command') },
  ];
}
