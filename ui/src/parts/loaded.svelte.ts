// What a page has read from the server: it keeps the last answer while it asks again, and forgets answers that come too late.
export class Loaded<T> {
  value = $state.raw<T | null>(null);
  error = $state<unknown>(null);
  /** Asked, and not answered yet. */
  busy = $state(false);
  #asked = 0;

  /** Asks; the answer of an earlier question that is still under way is not waited for any more. */
  async ask(question: () => Promise<T>): Promise<void> {
    const number = ++this.#asked;
    this.busy = true;
    try {
      const value = await question();
      if (number !== this.#asked) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (number === this.#asked) this.error = error;
    } finally {
      if (number === this.#asked) this.busy = false;
    }
  }
}
