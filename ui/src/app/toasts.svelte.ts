// Short notes at the foot of the page: what was done, what went wrong, and how to undo it while that is possible.
export interface Toast {
  id: number;
  kind: 'done' | 'failed';
  text: string;
  /** Offered as a button while the note is there. */
  undo?: () => void;
}

const SECONDS = 6;

class Toasts {
  shown = $state<Toast[]>([]);
  #last = 0;

  done(text: string): void {
    this.add({ kind: 'done', text });
  }

  /** Says why something was not done. */
  failed(error: unknown, what?: string): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.add({ kind: 'failed', text: what ? `${what}: ${reason}` : reason });
  }

  /** Does something only after some seconds, in which it can be taken back; at once when the page is left. */
  undoable(text: string, act: () => Promise<void>, undone: () => void): void {
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      removeEventListener('pagehide', now);
      this.dismiss(id);
      return true;
    };
    const now = (): void => {
      if (settle()) act().catch((error: unknown) => (undone(), this.failed(error)));
    };
    const timer = setTimeout(now, SECONDS * 1000);
    addEventListener('pagehide', now);
    const id = this.add({ kind: 'done', text, undo: () => settle() && undone() });
  }

  dismiss(id: number): void {
    this.shown = this.shown.filter((toast) => toast.id !== id);
  }

  private add(toast: Omit<Toast, 'id'>): number {
    const id = ++this.#last;
    this.shown = [...this.shown.slice(-3), { ...toast, id }];
    if (!toast.undo) setTimeout(() => this.dismiss(id), SECONDS * (toast.kind === 'failed' ? 2000 : 1000));
    return id;
  }
}

export const toasts = new Toasts();
