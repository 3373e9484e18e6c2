// Whether the command palette is open; by itself, so that the navigation can open it before it is loaded.
class PaletteState {
  open = $state(false);
}

export const palette = new PaletteState();

export function openPalette(): void {
  palette.open = true;
}
