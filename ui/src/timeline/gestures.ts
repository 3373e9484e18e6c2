// Mouse, wheel, touch and pen, as what they mean: pan, zoom, point, choose, open.
import type { Attachment } from 'svelte/attachments';

export interface Hands {
  pan(right: number, down: number): void;
  /** Everything around this point becomes `factor` times as long as it was; below 1 for a closer look. */
  zoom(factor: number, x: number, y: number): void;
  point(x: number, y: number): void;
  leave(): void;
  choose(x: number, y: number): void;
  open(x: number, y: number): void;
}

// A pointer that has moved less has not moved.
const STILL = 4;
const NEAR = 24;
const DOUBLE_MILLISECONDS = 400;
const PER_WHEEL = 0.0022;
const LINE = 16;

/** Hears an element. A plain wheel is left to it, to scroll. */
export function gestures(hands: Hands): Attachment<HTMLElement> {
  return (element) => {
    const pointers = new Map<number, { x: number; y: number }>();
    let moved = false;
    let last = { time: 0, x: 0, y: 0 };

    const place = (event: MouseEvent): { x: number; y: number } => {
      const box = element.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };

    const wheel = (event: WheelEvent): void => {
      const unit = event.deltaMode === 1 ? LINE : 1;
      const { x, y } = place(event);
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        // A pinch on a touchpad comes as a wheel with small steps.
        const step = Math.max(-120, Math.min(120, event.deltaY * unit));
        hands.zoom(Math.exp(step * PER_WHEEL * (Math.abs(step) < 15 ? 4 : 1)), x, y);
      } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        hands.pan(-(event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX) * unit, 0);
      }
    };

    const down = (event: PointerEvent): void => {
      if (event.button !== 0) return;
      // The bar for scrolling is not ours.
      if (event.offsetX > element.clientWidth && event.target === element) return;
      pointers.set(event.pointerId, place(event));
      if (pointers.size === 1) moved = false;
    };

    const move = (event: PointerEvent): void => {
      const now = place(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        hands.point(now.x, now.y);
        return;
      }
      if (!moved && Math.hypot(now.x - before.x, now.y - before.y) < STILL) return;
      if (!moved) element.setPointerCapture(event.pointerId);
      moved = true;
      if (pointers.size === 1) hands.pan(now.x - before.x, event.pointerType === 'mouse' ? now.y - before.y : 0);
      else pinch(event.pointerId, before, now);
      pointers.set(event.pointerId, now);
    };

    const pinch = (id: number, before: { x: number; y: number }, now: { x: number; y: number }): void => {
      const other = [...pointers].find(([key]) => key !== id)?.[1];
      if (!other) return;
      const was = Math.max(20, Math.hypot(before.x - other.x, before.y - other.y));
      const is = Math.max(20, Math.hypot(now.x - other.x, now.y - other.y));
      hands.zoom(was / is, (now.x + other.x) / 2, (now.y + other.y) / 2);
      hands.pan((now.x - before.x) / 2, 0);
    };

    const up = (event: PointerEvent): void => {
      if (!pointers.delete(event.pointerId) || moved) return;
      const { x, y } = place(event);
      const twice = event.timeStamp - last.time < DOUBLE_MILLISECONDS && Math.hypot(x - last.x, y - last.y) < NEAR;
      last = { time: twice ? 0 : event.timeStamp, x, y };
      if (twice) hands.open(x, y);
      else hands.choose(x, y);
    };

    const lost = (event: PointerEvent): void => void pointers.delete(event.pointerId);
    const leave = (): void => hands.leave();

    element.addEventListener('wheel', wheel, { passive: false });
    element.addEventListener('pointerdown', down);
    element.addEventListener('pointermove', move);
    element.addEventListener('pointerup', up);
    element.addEventListener('pointercancel', lost);
    element.addEventListener('pointerleave', leave);
    return () => {
      element.removeEventListener('wheel', wheel);
      element.removeEventListener('pointerdown', down);
      element.removeEventListener('pointermove', move);
      element.removeEventListener('pointerup', up);
      element.removeEventListener('pointercancel', lost);
      element.removeEventListener('pointerleave', leave);
    };
  };
}
