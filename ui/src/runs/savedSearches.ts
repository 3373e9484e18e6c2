// Reads saved filters from the server, and keeps them there.
import { api, told } from '../api/client';
import { conditionsOf, queryOf, type Condition, type Saved } from './saved';

const MOST = 200;

export async function readSaved(): Promise<Saved[]> {
  const found = await told(api.POST('/api/saved_searches/filter', { body: { limit: MOST, offset: 0 } }));
  return found
    .flatMap(({ id, name, filters }) => {
      const query = queryOf((filters ?? []) as Condition[]);
      return query === null ? [] : [{ id, name, query }];
    })
    .sort((one, other) => one.name.localeCompare(other.name));
}

export async function save(name: string, query: string): Promise<void> {
  await told(api.PUT('/api/saved_searches', { body: { name, filters: conditionsOf(query) as Required<Condition>[] } }));
}

export async function forget(id: string): Promise<void> {
  await told(api.DELETE('/api/saved_searches/{search_id}', { params: { path: { search_id: id } } }));
}
