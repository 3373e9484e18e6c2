// Copies text, and says so in a note: for menus, whose entries are gone when it is done.
import { toasts } from '../app/toasts.svelte';

export async function copied(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toasts.done(`Copied: ${text}`);
  } catch (error) {
    toasts.failed(error, 'The browser does not let us copy');
  }
}
