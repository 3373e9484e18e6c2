// The colours of the page for what is drawn on a canvas: read from its style, mixed where something must be lighter.
import { STATE_TYPES } from '../api/types';
import { KINDS } from './density';
import { CODES } from './model';

export interface Colours {
  /** For each state: of its edge and of small marks, and of the body of a bar. */
  solid: string[];
  tint: string[];
  /** For each kind of the density. */
  kind: string[];
  text: string;
  soft: string;
  line: string;
  lineStrong: string;
  surface: string;
  sunken: string;
  accent: string;
  nested: string;
  font: string;
  bold: string;
}

export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const read = (name: string): string => style.getPropertyValue(name).trim();
  const surface = read('--surface');
  const solid = STATE_TYPES.map((type) => read(`--${type.toLowerCase()}`));
  const soft = read('--text-soft');
  const size = read('--size-small');
  return {
    solid,
    tint: solid.map((colour) => mixed(colour, surface, 0.26)),
    kind: KINDS.map((kind) => mixed(solid[CODES[kind]] as string, surface, kind === 'FAILED' ? 1 : 0.5)),
    text: read('--text'),
    soft,
    line: read('--line'),
    lineStrong: read('--line-strong'),
    surface,
    sunken: read('--sunken'),
    accent: read('--accent'),
    nested: mixed(read('--accent'), surface, 0.05),
    font: `${size} ${read('--font')}`,
    bold: `600 ${size} ${read('--font')}`,
  };
}

/** Two colours as `#rrggbb`, or as the `#rgb` to which the build shortens them: so much of the first, the rest of the other. */
export function mixed(one: string, other: string, part: number): string {
  const others = channels(other);
  const shares = channels(one).map((value, channel) => Math.round(value * part + (others[channel] as number) * (1 - part)));
  return `#${shares.map((value) => value.toString(16).padStart(2, '0')).join('')}`;
}

function channels(colour: string): number[] {
  const digits = colour.slice(1);
  const whole = digits.length === 3 ? [...digits].map((digit) => digit + digit).join('') : digits;
  return [0, 2, 4].map((at) => parseInt(whole.slice(at, at + 2), 16));
}
