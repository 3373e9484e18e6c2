// The pages, by the shape of their addresses. Each is loaded when it is first shown.
import type { Component } from 'svelte';

export interface Route {
  pattern: RegExp;
  /** What the entry in the navigation is called that stands for it. */
  section: string;
  title: string;
  load: () => Promise<{ default: Component<Record<string, string>> }>;
}

const id = '[0-9a-f-]{32,36}';

function route(pattern: string, section: string, title: string, load: () => Promise<unknown>): Route {
  return { pattern: new RegExp(`^${pattern}$`), section, title, load: load as Route['load'] };
}

export const ROUTES: readonly Route[] = [
  route('/', 'Dashboard', 'Dashboard', () => import('../dashboard/Dashboard.svelte')),
  route('/runs', 'Runs', 'Runs', () => import('../runs/Runs.svelte')),
  route(`/runs/(?<id>${id})`, 'Runs', 'Run', () => import('../run/Run.svelte')),
  route(`/runs/flow-run/(?<id>${id})`, 'Runs', 'Run', () => import('../run/Run.svelte')),
  route(`/task-runs/(?<id>${id})`, 'Runs', 'Task run', () => import('../taskrun/TaskRun.svelte')),
  route('/flows', 'Flows', 'Flows', () => import('../flows/Flows.svelte')),
  route(`/flows/(?<id>${id})`, 'Flows', 'Flow', () => import('../flow/Flow.svelte')),
  route('/compare', 'Runs', 'Compare runs', () => import('../compare/Compare.svelte')),
  route('/concurrency-limits', 'Limits', 'Concurrency limits', () => import('../limits/Limits.svelte')),
  route('/variables', 'Variables', 'Variables', () => import('../variables/Variables.svelte')),
  route('/artifacts', 'Artifacts', 'Artifacts', () => import('../artifacts/Artifacts.svelte')),
  route(`/artifacts/(?<id>${id})`, 'Artifacts', 'Artifact', () => import('../artifacts/Artifact.svelte')),
  route('/settings', 'Settings', 'Settings', () => import('../settings/Settings.svelte')),
];

export interface Matched {
  route: Route;
  params: Record<string, string>;
}

export function matched(path: string): Matched | null {
  for (const candidate of ROUTES) {
    const found = candidate.pattern.exec(path);
    if (found) return { route: candidate, params: { ...found.groups } };
  }
  return null;
}
