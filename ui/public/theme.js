// Before anything is drawn, so that a dark page is never white for a moment.
(() => {
  let chosen = 'system';
  try {
    chosen = JSON.parse(localStorage.getItem('tidemill.preferences') ?? '{}').theme ?? 'system';
  } catch {
    // without storage the system decides
  }
  const dark = chosen === 'dark' || (chosen === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
