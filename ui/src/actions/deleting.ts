// Deletes flow runs: they are gone at once from what is shown, and some seconds later from the server.
import { api, told } from '../api/client';
import { router } from '../app/router.svelte';
import { toasts } from '../app/toasts.svelte';
import { plural } from '../parts/times';
import { chunks, MOST_AT_ONCE } from './doing';
import { actions } from './open.svelte';
import type { Actionable } from './rules';

export function deleteRuns(runs: readonly Actionable[]): void {
  const ids = runs.map((run) => run.id);
  const [first] = runs;
  const shown = router.path;
  const leaves = ids.some((id) => shown === `/runs/${id}`);
  actions.gone = new Set([...actions.gone, ...ids]);
  if (leaves) router.go('/runs');
  toasts.undoable(
    first && runs.length === 1 ? `${first.name} is deleted.` : `${plural(runs.length, 'run')} are deleted.`,
    () => remove(ids),
    () => {
      actions.gone = new Set([...actions.gone].filter((id) => !ids.includes(id)));
      if (leaves && router.path === '/runs') router.go(shown);
    },
  );
}

async function remove(ids: readonly string[]): Promise<void> {
  // The page may be left at this moment: what is asked for is sent nevertheless.
  const keepalive = true;
  const [only] = ids;
  if (only !== undefined && ids.length === 1) {
    await told(api.DELETE('/api/flow_runs/{flow_run_id}', { params: { path: { flow_run_id: only } }, keepalive }));
    return;
  }
  await Promise.all(
    chunks(ids, MOST_AT_ONCE).map((some) =>
      told(
        api.POST('/api/flow_runs/bulk_delete', {
          body: { flow_runs: { id: { any_: some } }, limit: MOST_AT_ONCE },
          keepalive,
        }),
      ),
    ),
  );
}
