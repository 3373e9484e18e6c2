// Requests to the server's API, with types from its own description.
import createClient from 'openapi-fetch';
import type { paths } from './schema';

/** Where the page is, with a slash at its end; everything of ours is below it. */
export const BASE = new URL('.', document.baseURI).pathname;
export const API = `${BASE}api`;

const CREDENTIAL = 'tidemill.credential';

/** What the server refused, or could not do, in words for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The server does not answer. */
export class Unreachable extends ApiError {
  constructor() {
    super(0, 'The server does not answer. Is `tidemill server start` still running?');
  }
}

let credential = read(localStorage) ?? read(sessionStorage);

function read(storage: Storage): string | null {
  try {
    return storage.getItem(CREDENTIAL);
  } catch {
    return null;
  }
}

/** Sends this with every request from now on: a token, or `name:password`; null for nothing. */
export function useCredential(value: string | null, remember: boolean): void {
  credential = value;
  try {
    localStorage.removeItem(CREDENTIAL);
    sessionStorage.removeItem(CREDENTIAL);
    if (value !== null) (remember ? localStorage : sessionStorage).setItem(CREDENTIAL, value);
  } catch {
    // a browser that keeps nothing asks again next time
  }
}

export function authorization(): Record<string, string> {
  if (credential === null) return {};
  if (!credential.includes(':')) return { Authorization: `Bearer ${credential}` };
  return { Authorization: `Basic ${btoa(String.fromCharCode(...new TextEncoder().encode(credential)))}` };
}

let whenRefused: () => void = () => undefined;

/** Calls `listener` whenever the server wants to know who we are. */
export function onRefused(listener: () => void): void {
  whenRefused = listener;
}

async function send(request: Request): Promise<Response> {
  for (const [name, value] of Object.entries(authorization())) request.headers.set(name, value);
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Unreachable();
  }
  if (response.status === 401) whenRefused();
  return response;
}

/** `api.GET('/api/flow_runs/{flow_run_id}', { params: ... })`; use `told` for the answer. */
export const api = createClient<paths>({ baseUrl: location.origin + BASE.slice(0, -1), fetch: send });

/** The data of an answer; an `ApiError` is thrown if there is none. */
export async function told<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (!response.ok) throw new ApiError(response.status, reason(error, response));
  return data as T;
}

function reason(error: unknown, response: Response): string {
  if (typeof error === 'object' && error !== null) {
    const { exception_message: message, detail } = error as Record<string, unknown>;
    if (typeof message === 'string') return message;
    if (typeof detail === 'string') return detail;
  }
  return `The server answered ${response.status} ${response.statusText}`.trim() + '.';
}
