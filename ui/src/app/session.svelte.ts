// Who uses the page, and what the server lets them do.
import { API, authorization, onRefused, useCredential } from '../api/client';

export type Role = 'viewer' | 'operator' | 'admin';

interface Me {
  name: string;
  role: Role;
  asks_credentials: boolean;
}

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

class Session {
  me = $state<Me | null>(null);
  /** The server wants to know who we are. */
  refused = $state(false);
  /** It has been asked, whatever it said. */
  known = $state(false);

  constructor() {
    onRefused(() => (this.refused = true));
  }

  /** Whether to show actions that need this role. */
  may(role: Role): boolean {
    return this.me !== null && RANK[this.me.role] >= RANK[role];
  }

  /** Asks the server who we are; says whether it knows us. */
  async ask(): Promise<boolean> {
    try {
      const response = await fetch(`${API}/me`, { headers: authorization() });
      this.refused = response.status === 401;
      this.me = response.ok ? ((await response.json()) as Me) : null;
      return response.ok;
    } catch {
      return false;
    } finally {
      this.known = true;
    }
  }

  async logIn(credential: string, remember: boolean): Promise<boolean> {
    useCredential(credential, remember);
    if (await this.ask()) return true;
    useCredential(null, false);
    return false;
  }

  logOut(): void {
    useCredential(null, false);
    this.me = null;
    this.refused = true;
  }
}

export const session = new Session();
