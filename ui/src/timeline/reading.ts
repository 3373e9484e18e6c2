// Asks the server for timelines.
import { api, told } from '../api/client';
import type { Timeline } from '../api/schema';

export function read(flowRunId: string): Promise<Timeline> {
  return told(api.GET('/api/ui/flow_runs/{flow_run_id}/timeline', { params: { path: { flow_run_id: flowRunId } } }));
}

/** The runs of one task from a place on, as many as the server gives at once. */
export function readTask(flowRunId: string, taskKey: string, offset: number): Promise<Timeline> {
  const params = { path: { flow_run_id: flowRunId }, query: { task_key: taskKey, offset } };
  return told(api.GET('/api/ui/flow_runs/{flow_run_id}/timeline', { params }));
}
